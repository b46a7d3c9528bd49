"""A model's thread: who leaves frees a place, who fails harms nobody, and no two threads share the model."""

import asyncio
import threading
from functools import partial

import pytest
from random_models import TOKENIZER, talkative_gpt

from folio.inference.batching import Batch, Request
from folio.inference.sampling import SamplingConfig
from folio.server.errors import ApiError
from folio.server.worker import Worker

PROMPT = TOKENIZER.encode("abc").tolist()


def ask(n=400, seed=1, ids=PROMPT):
    return Request(ids=ids, max_new_tokens=n, seed=seed, sampling=SamplingConfig())


def using(test, *, rows=4, limit=8, batch=Batch):
    """Run an asynchronous test with a worker, and see that it ends."""

    async def run():
        model = talkative_gpt(block_size=512)
        worker = Worker(lambda: batch(model, max_rows=rows), limit=limit)
        try:
            await asyncio.wait_for(test(worker), 60)
        finally:
            worker.close()
            await asyncio.to_thread(worker.join, 20)

    asyncio.run(run())


async def written(worker, *requests):
    ids = [[] for _ in requests]
    with worker.generate(requests) as answers:
        async for events in answers:
            for index, event in events:
                ids[index].append(event.token)
    return ids


async def idle(worker):
    while worker.n_running or worker.n_waiting or not worker.is_idle:
        await asyncio.sleep(0.005)


def test_answers_are_those_of_the_batch():
    async def test(worker):
        batch = Batch(talkative_gpt(block_size=512), max_rows=4)
        rows = [batch.add(ask(20, seed)) for seed in (1, 2)]
        while not batch.idle:
            batch.step()
        assert await written(worker, ask(20, 1), ask(20, 2)) == [row.ids for row in rows]

    using(test)


@pytest.mark.parametrize("place", ["running", "queued"])
def test_who_leaves_frees_the_place_and_touches_no_other(place):
    async def test(worker):
        alone = await written(worker, ask(100, 7))
        others = asyncio.create_task(written(worker, ask(100, 7)))
        leaving = [asyncio.create_task(written(worker, ask(400, seed))) for seed in range(6)]
        while worker.n_running < 4 or not worker.n_waiting:
            await asyncio.sleep(0.001)
        for task in leaving[-2:] if place == "queued" else leaving:
            task.cancel()
        assert await others == alone
        for task in leaving:
            task.cancel()
        await idle(worker)

    using(test)


def test_who_leaves_while_the_prompt_is_read_frees_the_place():
    async def test(worker):
        with worker.generate([ask(1, ids=[1] * 500)]):
            while not worker.n_running:
                await asyncio.sleep(0)
        await idle(worker)

    using(test, batch=partial(Batch, prefill_tokens=1))  # or it is read before anyone can leave


def test_an_answer_may_be_ended_from_outside_while_its_neighbor_goes_on():
    async def test(worker):
        alone = await written(worker, ask(50, 2))
        ids = [[], []]
        with worker.generate([ask(400, 1), ask(50, 2)]) as answers:
            async for events in answers:
                for index, event in events:
                    ids[index].append(event.token)
                    if index == 0 and len(ids[0]) == 3:
                        answers.finish(0)
        assert len(ids[0]) < 400
        assert ids[1] == alone[0]

    using(test)


def test_more_than_may_wait_are_refused_until_there_is_room():
    async def test(worker):
        with worker.generate([ask()] * 8):
            with pytest.raises(ApiError) as refusal:
                worker.generate([ask()])
            assert refusal.value.status == 429
            assert refusal.value.headers["Retry-After"]
        with pytest.raises(ApiError, match="9 answers") as refusal:
            worker.generate([ask()] * 9)
        assert refusal.value.status == 400
        await written(worker, ask(5))

    using(test)


def test_a_failing_step_is_told_to_all_and_the_next_request_is_answered():
    class Fragile(Batch):
        def step(self):
            if any(place.row.request.seed == 13 for place in self._places):
                raise RuntimeError("broken")
            return super().step()

    async def test(worker):
        neighbor = asyncio.create_task(written(worker, ask(400, 1)))
        while not worker.n_running:
            await asyncio.sleep(0.001)
        with pytest.raises(RuntimeError, match="broken"):
            await written(worker, ask(5, 13))
        with pytest.raises(RuntimeError, match="broken"):
            await neighbor
        assert len((await written(worker, ask(5)))[0]) == 5

    using(test, batch=Fragile)


def test_where_no_batch_can_be_made_the_request_is_told_and_the_next_one_tries_again():
    batches = []

    def scarce(*arguments, **options):
        batches.append(None)
        if len(batches) == 1:
            raise MemoryError("no room")
        return Batch(*arguments, **options)

    async def test(worker):
        with pytest.raises(MemoryError, match="no room"):
            await written(worker, ask(5))
        assert await worker.call(lambda: 1) == 1
        assert len((await written(worker, ask(5)))[0]) == 5

    using(test, batch=scarce)


def test_a_failure_as_someone_leaves_does_not_end_the_thread():
    class Fragile(Batch):
        def cancel(self, row):
            raise RuntimeError("broken")

    async def test(worker):
        with worker.generate([ask(400)]):
            while not worker.n_running:
                await asyncio.sleep(0.001)
        assert len((await written(worker, ask(5)))[0]) == 5

    using(test, batch=Fragile)


def test_an_id_that_the_model_lacks_is_told_to_the_one_who_sent_it():
    async def test(worker):
        neighbor = asyncio.create_task(written(worker, ask(30, 1)))
        with pytest.raises(ValueError, match="outside"):
            await written(worker, ask(5), ask(5, ids=[99]))
        assert len((await neighbor)[0]) == 30
        await idle(worker)

    using(test)


def test_functions_run_in_the_models_thread_between_steps():
    async def test(worker):
        answers = asyncio.create_task(written(worker, ask(300, 1)))
        first = await worker.call(threading.get_ident)
        second = await worker.call(threading.get_ident)
        assert first == second != threading.get_ident()
        with pytest.raises(ZeroDivisionError):
            await worker.call(lambda: 1 / 0)
        assert len((await answers)[0]) == 300

    using(test)


def test_a_closed_worker_finishes_what_it_has_and_takes_no_more():
    async def test(worker):
        answers = asyncio.create_task(written(worker, ask(200, 1)))
        await asyncio.sleep(0.01)
        worker.close()
        with pytest.raises(ApiError) as refusal:
            worker.generate([ask()])
        assert refusal.value.status == 503
        with pytest.raises(ApiError):
            await worker.call(lambda: 1)
        assert len((await answers)[0]) == 200

    using(test)


def test_many_who_come_and_go_leave_nothing_behind():
    async def test(worker):
        async def one(seed):
            task = asyncio.create_task(written(worker, ask(30, seed)))
            if seed % 3 == 0:
                await asyncio.sleep(0.003 * (seed % 5))
                task.cancel()
                return None
            return await task

        for first in range(0, 60, 6):
            found = await asyncio.gather(*(one(seed) for seed in range(first, first + 6)))
            assert [each is None or len(each[0]) for each in found] == [
                True if seed % 3 == 0 else 30 for seed in range(first, first + 6)
            ]
        await idle(worker)

    using(test)
