"""Whatever joins, leaves, waits or was read before: each request gives what it gives alone."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from random_models import random_gpt

from folio.inference.batching import Batch, Event, Request, Row
from folio.inference.sampling import SamplingConfig
from folio.model.gpt import GPT

GREEDY = SamplingConfig(temperature=0.0)


@pytest.fixture
def model(model: GPT, either_decoder: int) -> GPT:
    """A model of each architecture, with each decoder."""
    return model


def ids(n: int, seed: int = 1) -> list[int]:
    return torch.randint(61, (n,), generator=torch.Generator().manual_seed(seed)).tolist()


def run(batch: Batch, *requests: Request) -> list[Row]:
    """Add requests, and step until nothing is left to do."""
    rows = [batch.add(request) for request in requests]
    while not batch.idle:
        batch.step()
    return rows


def written(batch: Batch, request: Request) -> list[int]:
    (row,) = run(batch, request)
    return row.ids


def alone(model: GPT, request: Request) -> list[int]:
    return written(Batch(model, max_rows=2, cache_tokens=0), request)


def steps_of(batch: Batch, n: int) -> list[Event]:
    return [event for _ in range(n) for event in batch.step()]


@torch.no_grad()
def logprobs_of(model: GPT, text: Sequence[int], temperature: float = 1.0) -> torch.Tensor:
    """ln p of every token after each place of a text, by the model itself: (T, V)."""
    return (model.eval()(torch.tensor([list(text)]))[0] / temperature).log_softmax(-1)


def greedy(model: GPT, prompt: list[int], n: int) -> list[int]:
    text = list(prompt)
    for _ in range(n):
        text.append(int(logprobs_of(model, text)[-1].argmax()))
    return text[len(prompt) :]


# What each row writes


def test_rows_that_join_and_leave_write_what_the_model_does_without_a_cache(model: GPT) -> None:
    batch = Batch(model, max_rows=3, prefill_tokens=5, cache_tokens=40)
    prompts = [ids(9), ids(3, 2), ids(12, 3), ids(9)[:6] + ids(3, 4), ids(1, 5), ids(7, 6)]
    rows: list[Row] = []
    for number, prompt in enumerate(prompts):
        rows.append(batch.add(Request(ids=prompt, sampling=GREEDY, max_new_tokens=4 + 3 * number)))
        steps_of(batch, 2)
    while not batch.idle:
        batch.step()
    for row, prompt in zip(rows, prompts, strict=True):
        assert row.ids == greedy(model, prompt, row.request.max_new_tokens)
        assert row.finish_reason == "length"


def test_every_row_has_settings_and_limits_of_its_own(model: GPT) -> None:
    requests = [
        Request(ids=ids(5), max_new_tokens=9, seed=1),
        Request(ids=ids(5), max_new_tokens=3, seed=1, choice=1),
        Request(ids=ids(8, 2), max_new_tokens=12, sampling=SamplingConfig(temperature=0.5, top_k=5), seed=2),
        Request(ids=ids(6, 3), max_new_tokens=9, sampling=SamplingConfig(repetition_penalty=1.5, top_p=0.9)),
        Request(
            ids=ids(6, 3), max_new_tokens=9, sampling=GREEDY, presence_penalty=2.0, frequency_penalty=1.0
        ),
        Request(ids=ids(6, 3), max_new_tokens=9, logit_bias={3: 5.0, 4: -5.0}, vocab_size=40),
    ]
    rows = run(Batch(model), *requests)
    for row, request in zip(rows, requests, strict=True):
        assert row.ids == alone(model, request)
        assert len(row.ids) == request.max_new_tokens
    stop = rows[2].ids[4]
    (stopped,) = run(Batch(model), replace(requests[2], stop_ids=(stop, 99)))
    assert stopped.ids == rows[2].ids[: rows[2].ids.index(stop) + 1]
    assert stopped.finish_reason == "stop"


def test_penalties_are_taken_from_what_the_row_has_written(model: GPT) -> None:
    prompt = ids(6)
    banned = Request(ids=prompt, sampling=GREEDY, max_new_tokens=20, presence_penalty=1e4)
    assert len(set(alone(model, banned))) == 20
    request = Request(
        ids=prompt, sampling=GREEDY, max_new_tokens=12, presence_penalty=0.3, frequency_penalty=0.2
    )
    text: list[int] = []
    for _ in range(12):
        scores = logprobs_of(model, prompt + text)[-1].clone()
        for token in set(text):
            scores[token] -= 0.3 + 0.2 * text.count(token)
        text.append(int(scores.argmax()))
    assert alone(model, request) == text


def test_a_bias_forces_and_bans(model: GPT) -> None:
    forced = Request(ids=ids(4), max_new_tokens=5, logit_bias={17: 1000.0})
    assert alone(model, forced) == [17] * 5
    free = alone(model, Request(ids=ids(4), sampling=GREEDY, max_new_tokens=1))[0]
    banned = Request(ids=ids(4), sampling=GREEDY, max_new_tokens=1, logit_bias={free: -1000.0})
    assert alone(model, banned) != [free]


def test_a_row_that_fills_the_context_reads_its_end_again_and_the_others_go_on(model: GPT) -> None:
    """Alone it is the same: when a row forgets is its own affair."""
    T = model.config.block_size
    requests = [Request(ids=ids(n, n), max_new_tokens=2 * T, sampling=GREEDY) for n in (3, T - 3, T, 2 * T)]
    rows = run(Batch(model, prefill_tokens=10), *requests)
    for row, request in zip(rows, requests, strict=True):
        text, start = list(request.ids[-T:]), 0
        n_prompt = len(text)
        for _ in range(request.max_new_tokens):
            if len(text) - start > T:
                start = len(text) - T * 3 // 4
            text.append(int(logprobs_of(model, text[start:])[-1].argmax()))
        assert row.ids == text[n_prompt:]


def test_a_request_that_may_fill_an_enormous_context_needs_no_more_room_than_it_writes() -> None:
    model = random_gpt(block_size=2**24)
    batch = Batch(model)
    batch.add(Request(ids=[1, 2, 3], max_new_tokens=2**24))
    assert len(steps_of(batch, 3)) == 3


def test_rows_that_outgrow_the_room_there_is_go_on(model: GPT, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = [Request(ids=ids(n, n), max_new_tokens=28 - n, sampling=GREEDY) for n in (2, 9, 20)]
    expected = [alone(model, request) for request in requests]
    monkeypatch.setattr("folio.inference.batching.COLUMNS", 1)
    for max_rows in (1, 2, 4):
        assert [row.ids for row in run(Batch(model, max_rows=max_rows), *requests)] == expected


# What is reported


def test_logprobs_are_the_models_own_or_those_at_the_temperature_asked_for(model: GPT) -> None:
    prompt, sampling = ids(5), SamplingConfig(temperature=0.6, top_k=4)
    for at in (1.0, 0.6):
        batch = Batch(model)
        request = Request(
            ids=prompt, max_new_tokens=8, sampling=sampling, logprob_temperature=at, top_logprobs=3, presence_penalty=1
        )  # fmt: skip
        row = batch.add(request)
        events = []
        while not batch.idle:
            events += batch.step()
        table = logprobs_of(model, prompt + row.ids, at)[len(prompt) - 1 :]
        assert [event.token for event in events] == row.ids
        for event, logprobs in zip(events, table, strict=False):
            assert event.logprobs is not None
            assert event.logprobs.logprob == pytest.approx(float(logprobs[event.token]), abs=1e-4)
            best = logprobs.topk(3)
            assert [token for token, _ in event.logprobs.top] == best.indices.tolist()
            assert [value for _, value in event.logprobs.top] == pytest.approx(best.values.tolist(), abs=1e-4)


@pytest.mark.parametrize("max_new_tokens", [0, 3])
def test_the_logprobs_of_a_prompt(model: GPT, max_new_tokens: int) -> None:
    """Also of one that has been read before, in pieces of any size, beside others."""
    prompt = ids(17)
    batch = Batch(model, prefill_tokens=5)
    run(batch, Request(ids=prompt, max_new_tokens=2), Request(ids=ids(9, 2), max_new_tokens=4))
    request = Request(ids=prompt, max_new_tokens=max_new_tokens, prompt_logprobs=True, top_logprobs=2)
    other = batch.add(Request(ids=ids(9, 3), max_new_tokens=20))
    (row,) = run(batch, request)
    table = logprobs_of(model, prompt)
    assert row.prompt_logprobs is not None
    assert row.prompt_logprobs[0] is None
    assert len(row.prompt_logprobs) == len(prompt)
    for told, token, logprobs in zip(row.prompt_logprobs[1:], prompt[1:], table, strict=False):
        assert told is not None
        assert told.logprob == pytest.approx(float(logprobs[token]), abs=1e-4)
        assert [each for each, _ in told.top] == logprobs.topk(2).indices.tolist()
    assert len(row.ids) == max_new_tokens
    assert row.finish_reason == "length"
    assert other.prompt_logprobs is None


def test_a_prompt_of_one_token_has_nothing_that_predicts_it(model: GPT) -> None:
    batch = Batch(model)
    row = batch.add(Request(ids=[5], max_new_tokens=0, prompt_logprobs=True))
    (event,) = batch.step()
    assert event == (row, None, None, "length")
    assert row.prompt_logprobs == [None]
    assert batch.idle


# What is read once


def test_a_prompt_of_several_requests_is_read_once(model: GPT, read: list[int], either_decoder: int) -> None:
    """Those that come together all begin with the first pass, as if each had read it."""
    batch, prompt = Batch(model, max_rows=6), ids(16)
    rows = [batch.add(Request(ids=prompt, max_new_tokens=5, choice=choice)) for choice in range(5)]
    assert [event.row for event in batch.step()] == rows
    assert read == [16]
    assert [row.cached_tokens for row in rows] == [0, 16, 16, 16, 16]
    while not batch.idle:
        batch.step()
    assert read[1:] == [5 + -5 % either_decoder] * 4
    for row in rows:
        assert row.ids == alone(model, row.request)


def test_what_only_begins_alike_is_shared_as_far_as_it_does(read: list[int]) -> None:
    model, begin = random_gpt(block_size=128), [1 + i % 5 for i in range(40)]
    tails = [[2, 3], [3, 3, 3], [2, 3], [2, 4, 4, 4]]
    batch = Batch(model, max_rows=8, prefill_tokens=16)
    rows = [batch.add(Request(ids=begin + tail, max_new_tokens=4, choice=i)) for i, tail in enumerate(tails)]
    while not batch.idle:
        batch.step()
    assert [row.cached_tokens for row in rows] == [0, 40, 42, 41]
    assert sum(read) < 40 + 12 + 6 * 8
    for row in rows:
        assert row.ids == alone(model, row.request)


def test_a_later_request_goes_on_from_what_a_running_one_has_read(model: GPT) -> None:
    batch, prompt = Batch(model, cache_tokens=0), ids(20)
    first = batch.add(Request(ids=prompt, max_new_tokens=9))
    steps_of(batch, 3)
    (second,) = run(batch, Request(ids=[*prompt[:15], 1], max_new_tokens=9))
    assert (first.cached_tokens, second.cached_tokens) == (0, 15)
    assert second.ids == alone(model, second.request)
    assert first.ids == alone(model, first.request)


def test_finished_rows_are_what_later_prompts_begin_with(model: GPT) -> None:
    """A conversation: each turn has the last prompt and answer in it. Retries have all but the prompt's last token."""
    batch, text = Batch(model), ids(8)
    for turn in range(3):
        request = Request(ids=text, max_new_tokens=4, seed=turn)
        (row,) = run(batch, request)
        # The last token that a row writes has not been read.
        assert row.cached_tokens == (len(text) - 3 if turn else 0)
        assert row.ids == alone(model, request)
        (retry,) = run(batch, Request(ids=text, max_new_tokens=4, seed=turn))
        assert retry.cached_tokens == len(text) - 1
        assert retry.ids == row.ids
        text = [*text, *row.ids, 1 + turn, 2]


def test_what_is_kept_is_bounded_over_many_requests(model: GPT) -> None:
    batch = Batch(model, max_rows=3, cache_tokens=50)
    for number in range(60):
        batch.add(Request(ids=ids(1 + number % 17, number), max_new_tokens=1 + number % 5))
        batch.step()
        assert batch.n_running <= 3
        assert batch.n_cached_tokens <= 50
    run(batch)
    assert (batch.n_running, batch.n_waiting) == (0, 0)
    assert 30 < batch.n_cached_tokens <= 50
    nothing = Batch(model, cache_tokens=0)
    run(nothing, Request(ids=ids(5), max_new_tokens=3))
    assert nothing.n_cached_tokens == 0


# Who waits for whom


def test_a_long_prompt_holds_up_no_one(model: GPT) -> None:
    batch = Batch(model, max_rows=4, prefill_tokens=3)
    running = batch.add(Request(ids=ids(2), max_new_tokens=30))
    batch.step()
    late = batch.add(Request(ids=ids(20, 2), max_new_tokens=2))
    waited = 0
    while not late.ids:
        assert running in [event.row for event in batch.step()]
        waited += 1
    assert waited == 7  # 20 tokens, 3 at a time


def test_rows_beyond_the_places_wait_in_order(model: GPT) -> None:
    batch = Batch(model, max_rows=2)
    rows = [batch.add(Request(ids=ids(3, i), max_new_tokens=2 + i)) for i in range(5)]
    assert (batch.n_running, batch.n_waiting) == (0, 5)
    ended: list[Row] = []
    while not batch.idle:
        ended += [event.row for event in batch.step() if event.finish_reason]
        assert batch.n_running + batch.n_waiting + len(ended) == 5
        assert batch.n_running <= 2
    assert ended == rows


def test_whoever_leaves_frees_a_place_at_once_and_harms_no_one(model: GPT) -> None:
    batch = Batch(model, max_rows=3, prefill_tokens=4)
    requests = [Request(ids=ids(12, i), max_new_tokens=10, seed=i) for i in range(5)]
    rows = [batch.add(request) for request in requests]
    steps_of(
        batch, 5
    )  # the first is written, the second is being read, the third waits for that, the others for a place
    assert rows[0].ids
    assert not rows[1].ids
    for row, running, waiting in ((rows[4], 3, 1), (rows[1], 2, 1), (rows[0], 1, 1)):
        batch.cancel(row)
        assert (batch.n_running, batch.n_waiting) == (running, waiting)
        batch.cancel(row)  # again, which does nothing
    told = {event.row for event in steps_of(batch, 60)}
    assert told == {rows[2], rows[3]}
    assert batch.idle
    for number in (2, 3):
        assert rows[number].ids == alone(model, requests[number])
    assert rows[0].finish_reason is None


def test_those_who_wait_for_a_prompt_take_over_from_whoever_leaves_while_reading_it(
    model: GPT, read: list[int]
) -> None:
    batch, prompt = Batch(model, max_rows=4, prefill_tokens=8), ids(30)
    rows = [batch.add(Request(ids=prompt, max_new_tokens=2, choice=choice)) for choice in range(4)]
    steps_of(batch, 2)
    batch.cancel(rows[0])
    while not batch.idle:
        batch.step()
    assert [row.cached_tokens for row in rows] == [0, 16, 30, 30]
    assert read[:3] == [8, 8, 8]
    assert read[3] in (6, 8)  # what is left of the prompt, filled up or not
    for row in rows[1:]:
        assert row.ids == alone(model, row.request)


# In any company


def test_in_passes_of_one_size_nothing_of_a_row_depends_on_the_others(model: GPT) -> None:
    """To the last bit, on any processor."""

    def events(others: int) -> list[Any]:
        batch = Batch(model, max_rows=4)
        prompts = [ids(8, others), ids(8), ids(8, others + 1), ids(8, others + 2)]
        rows = [batch.add(Request(ids=prompt, max_new_tokens=20, top_logprobs=5)) for prompt in prompts]
        return [event[1:] for event in steps_of(batch, 20) if event.row is rows[1]]

    found = [events(others) for others in range(100, 108)]
    assert len(found[0]) == 20
    assert all(each == found[0] for each in found)


class Company(RuleBasedStateMachine):
    """Requests come, go and are given up in any order; each gives what it gives alone."""

    model = random_gpt(block_size=24)
    known: ClassVar[dict[str, list[int]]] = {}
    CACHE = 40

    @initialize(max_rows=st.integers(1, 9), prefill_tokens=st.integers(1, 20))
    def begin(self, max_rows: int, prefill_tokens: int) -> None:
        self.max_rows = max_rows
        self.batch = Batch(
            self.model, max_rows=max_rows, prefill_tokens=prefill_tokens, cache_tokens=self.CACHE
        )
        self.rows: list[Row] = []
        self.canceled: list[tuple[Row, list[int]]] = []

    @rule(
        base=st.integers(0, 1),
        n=st.integers(1, 30),
        tail=st.lists(st.integers(0, 8), max_size=3),
        max_new_tokens=st.integers(0, 20),
        sampling=st.sampled_from([GREEDY, SamplingConfig(), SamplingConfig(top_k=3, temperature=0.7)]),
        penalty=st.sampled_from([0.0, 0.5]),
        times=st.integers(1, 3),
    )
    def add(
        self,
        base: int,
        n: int,
        tail: list[int],
        max_new_tokens: int,
        sampling: SamplingConfig,
        penalty: float,
        times: int,
    ) -> None:
        prompt = [(i * (3 + base)) % 8 for i in range(n)] + tail
        for choice in range(times):
            request = Request(
                ids=prompt, max_new_tokens=max_new_tokens, sampling=sampling, choice=choice, frequency_penalty=penalty,
                stop_ids=(7,), prompt_logprobs=n % 5 == 0,
            )  # fmt: skip
            self.rows.append(self.batch.add(request))

    @rule(n=st.integers(1, 12))
    def step(self, n: int) -> None:
        for event in steps_of(self.batch, n):
            assert event.row not in [row for row, _ in self.canceled]

    @precondition(lambda self: self.rows)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        row = data.draw(st.sampled_from(self.rows))
        self.rows.remove(row)
        finished = row.finish_reason
        self.batch.cancel(row)
        if not finished:
            self.canceled.append((row, list(row.ids)))

    @invariant()
    def nothing_is_beyond_its_bounds(self) -> None:
        assert self.batch.n_running <= self.max_rows
        assert self.batch.n_cached_tokens <= self.CACHE
        unfinished = [row for row in self.rows if not row.finish_reason]
        assert self.batch.n_running + self.batch.n_waiting == len(unfinished)

    def teardown(self) -> None:
        while not self.batch.idle:
            self.batch.step()
        for row in self.rows:
            assert row.ids == self.expected(row.request)
            assert row.finish_reason == ("stop" if 7 in row.ids else "length")
        for row, before in self.canceled:
            assert row.ids == before == self.expected(row.request)[: len(before)]

    def expected(self, request: Request) -> list[int]:
        if repr(request) not in self.known:
            self.known[repr(request)] = alone(self.model, request)
        return self.known[repr(request)]


class CompanyWithTorch(Company):
    """The same without the compiled decoder."""

    model = random_gpt(block_size=24)
    model.decoder = "torch"
    known: ClassVar[dict[str, list[int]]] = {}


TestCompany = Company.TestCase
TestCompanyWithTorch = CompanyWithTorch.TestCase
TestCompany.settings = TestCompanyWithTorch.settings = settings(
    max_examples=25, stateful_step_count=15, deadline=None
)


# The batch itself


def test_it_does_nothing_when_idle(model: GPT) -> None:
    batch = Batch(model)
    assert batch.idle
    assert batch.step() == []


def test_what_the_model_cannot_read_is_refused(model: GPT) -> None:
    batch = Batch(model)
    with pytest.raises(ValueError, match="prompt is empty"):
        Request(ids=[], max_new_tokens=3)
    for wrong in (-1, model.config.vocab_size):
        with pytest.raises(ValueError, match="a prompt has ids outside 0 to 60"):
            batch.add(Request(ids=[1, wrong], max_new_tokens=3))
        with pytest.raises(ValueError, match="logit_bias has ids outside 0 to 60"):
            batch.add(Request(ids=[1], max_new_tokens=3, logit_bias={wrong: 1.0}))
    assert batch.idle


def test_it_is_a_copy_of_the_model(model: GPT) -> None:
    batch, request = Batch(model), Request(ids=ids(5), sampling=GREEDY, max_new_tokens=6)
    before = alone(model, request)
    model.train()
    with torch.no_grad():
        for parameter in model.blocks.parameters():
            parameter.mul_(-1)
    assert written(batch, request) == before != alone(model, request)
    assert model.training
