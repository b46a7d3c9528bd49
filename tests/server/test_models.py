"""Models are loaded when they are asked for, replaced when they change, and unloaded to make room."""

import asyncio
import shutil

import pytest
from random_models import TOKENIZER, random_gpt

from folio.errors import UserError
from folio.runs.load import save
from folio.server import catalog
from folio.server import models as module
from folio.server.catalog import Catalog
from folio.server.config import ServerConfig
from folio.server.errors import ApiError
from folio.server.models import Models


def using(test, folder, **settings):
    async def run():
        models = Models(Catalog([folder]), ServerConfig(**settings))
        try:
            await asyncio.wait_for(test(models), 60)
        finally:
            await models.close()

    asyncio.run(run())


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr(catalog, "SCAN_SECONDS", 0)


def test_a_model_is_loaded_once_however_many_ask(models):
    async def test(loaded):
        found = await asyncio.gather(*(loaded.get("chat") for _ in range(5)))
        assert len({id(each) for each in found}) == 1
        assert list(loaded.loaded()) == [found[0]]
        assert found[0].tokenizer == TOKENIZER

    using(test, models)


def test_who_leaves_while_a_model_is_loaded_does_not_stop_it_for_others(models):
    async def test(loaded):
        leaving, staying = (asyncio.create_task(loaded.get("chat")) for _ in range(2))
        await asyncio.sleep(0)
        leaving.cancel()
        assert (await staying).name == "chat"

    using(test, models)


def test_without_a_name_the_only_model_is_meant(models, tmp_path):
    async def several(loaded):
        with pytest.raises(ApiError, match="there are 5") as refusal:
            await loaded.get(None)
        assert (refusal.value.status, refusal.value.param) == (400, "model")

    async def one(loaded):
        assert (await loaded.get(None)).name == "only"

    async def none(loaded):
        with pytest.raises(ApiError, match="no model here yet"):
            await loaded.get(None)

    using(several, models)
    using(none, tmp_path)
    save(random_gpt(), TOKENIZER, tmp_path / "only")
    using(one, tmp_path)


def test_checkpoints_are_models_of_their_own(finished):
    async def test(loaded):
        (entry,) = loaded.entries()
        first, *_, last = entry.checkpoints
        by_id = await loaded.get(f"run@{first}")
        assert by_id is await loaded.get("run", first)
        assert by_id.name == f"run@{first}"
        prints = {(await loaded.get(id)).fingerprint for id in (f"run@{first}", f"run@{last}")}
        assert len(prints) == 2
        for id in ("run@1", "run@x", "run@-2", f"run@{first}@{first}", "run@", f"run@{'9' * 5000}"):
            with pytest.raises(ApiError) as refusal:
                await loaded.get(id)
            assert refusal.value.status == 404
        with pytest.raises(ApiError, match="no checkpoint of step 1"):
            await loaded.get("run", 1)

    using(test, finished)


def test_a_model_that_was_replaced_is_loaded_anew(tmp_path):
    async def test(loaded):
        old = await loaded.get("m")
        assert await loaded.get("m") is old
        save(random_gpt(2), TOKENIZER, tmp_path / "m")
        new = await loaded.get("m")
        assert new.fingerprint != old.fingerprint
        with pytest.raises(ApiError):
            await old.worker.call(lambda: 1)
        save(random_gpt(1), TOKENIZER, tmp_path / "m")
        assert (await loaded.get("m")).fingerprint == old.fingerprint

    save(random_gpt(1), TOKENIZER, tmp_path / "m")
    using(test, tmp_path)


def test_models_make_room_for_each_other_and_those_in_use_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SPARED_SECONDS", -1)

    async def test(loaded):
        for id in ("a", "b"):
            await loaded.get(id)
        await loaded.get("a")
        await loaded.get("c")
        assert sorted(each.name for each in loaded.loaded()) == ["a", "c"]
        busy = asyncio.Event()
        tasks = [asyncio.create_task(wait_in(served, busy)) for served in loaded.loaded()]
        await asyncio.sleep(0.05)
        with pytest.raises(ApiError, match="in use") as refusal:
            await loaded.get("b")
        assert (refusal.value.status, int(refusal.value.headers["Retry-After"]) >= -1) == (503, True)
        busy.set()
        await asyncio.gather(*tasks)

    async def wait_in(served, busy):
        while not busy.is_set():
            await served.worker.call(lambda: __import__("time").sleep(0.02))

    for id in "abc":
        save(random_gpt(), TOKENIZER, tmp_path / id)
    entry = Catalog([tmp_path]).find("a")
    using(test, tmp_path, memory=2.5 * module.memory_of(entry, 32) / 1e9)


def test_a_model_that_was_asked_for_just_now_is_not_unloaded(tmp_path):
    async def test(loaded):
        await loaded.get("a")
        with pytest.raises(ApiError, match="in use"):
            await loaded.get("b")

    for id in "ab":
        save(random_gpt(), TOKENIZER, tmp_path / id)
    entry = Catalog([tmp_path]).find("a")
    using(test, tmp_path, memory=1.5 * module.memory_of(entry, 32) / 1e9)


def test_a_model_that_never_fits_says_what_to_do(models):
    async def test(loaded):
        with pytest.raises(ApiError, match="--memory") as refusal:
            await loaded.get("chat")
        assert refusal.value.status == 400

    using(test, models, memory=1e-6)


def test_reward_models_write_nothing(models):
    async def test(loaded):
        assert "deep/reward" in {entry.id for entry in loaded.entries()}
        with pytest.raises(ApiError, match="scores text"):
            await loaded.get("deep/reward")

    using(test, models)


def test_a_damaged_model_is_told_in_the_words_of_the_command_line(tmp_path):
    async def test(loaded):
        with pytest.raises(UserError, match="damaged"):
            await loaded.get("m")
        shutil.copy(tmp_path / "whole" / "model.safetensors", tmp_path / "m" / "model.safetensors")
        assert (await loaded.get("m")).name == "m"

    for id in ("m", "whole"):
        save(random_gpt(), TOKENIZER, tmp_path / id)
    content = bytearray((tmp_path / "m" / "model.safetensors").read_bytes())
    content[-5] ^= 255
    (tmp_path / "m" / "model.safetensors").write_bytes(content)
    using(test, tmp_path)
