"""What is on offer: found by scanning, by ids that are never paths."""

import shutil

import pytest
from random_models import TOKENIZER, random_gpt, random_scorer
from tiny import answering

from folio.runs.directory import RunDirectory
from folio.runs.load import load, save
from folio.server import catalog
from folio.server.catalog import Catalog
from folio.server.errors import ApiError


@pytest.fixture
def folder(tmp_path, finished):
    shutil.copytree(finished, tmp_path / "all" / "a" / "base")
    answering(finished, tmp_path / "all" / "chat")
    save(random_gpt(), TOKENIZER, tmp_path / "all" / "plain")
    save(random_scorer(), TOKENIZER, tmp_path / "all" / "reward")
    (tmp_path / "all" / "notes").mkdir()
    (tmp_path / "all" / "notes" / "a.txt").write_text("nothing")
    return tmp_path / "all"


def ids(found):
    return [entry.id for entry in found.entries()]


def test_runs_and_model_directories_at_any_depth(folder):
    found = {entry.id: entry for entry in Catalog([folder]).entries()}
    assert {id: entry.kind for id, entry in found.items()} == {
        "a/base": "base", "chat": "chat", "plain": "chat", "reward": "reward",
    }  # fmt: skip
    run = found["a/base"]
    assert run.directory == folder / "a" / "base" / "best"
    assert run.checkpoints == tuple(RunDirectory(run.path).models())
    assert run.config.block_size == 16
    assert run.created > 10**9
    assert run.parameters == load(run.path)[0].n_parameters
    assert found["plain"].checkpoints == ()


def test_a_path_may_be_a_run_a_model_or_a_part_of_a_run(folder):
    assert ids(Catalog([folder / "chat"])) == ["chat"]
    assert ids(Catalog([folder / "plain", folder / "a"])) == ["plain", "base"]
    (best,) = Catalog([folder / "a" / "base" / "best"]).entries()
    assert (best.id, best.kind, best.checkpoints) == ("best", "base", ())


def test_models_of_one_name_get_numbers(folder):
    assert ids(Catalog([folder / "a", folder / "a" / "base"])) == ["base", "base-2"]


@pytest.mark.parametrize(
    "id",
    [
        "nobody",
        "",
        "..",
        "../all/chat",
        "/etc",
        "a",
        "chat/best",
        "chat/",
        "a//base",
        "chat\x00",
        "a" * 10_000,
    ],
)
def test_nothing_but_what_was_found_has_an_id(folder, id):
    with pytest.raises(ApiError) as refusal:
        Catalog([folder]).find(id)
    assert (refusal.value.status, refusal.value.code) == (404, "model_not_found")


def test_runs_that_have_no_model_yet_or_a_damaged_one_are_not_offered(folder):
    shutil.rmtree(folder / "a" / "base" / "best")
    shutil.rmtree(folder / "a" / "base" / "checkpoints")
    shutil.rmtree(folder / "a" / "base" / "history", ignore_errors=True)
    (folder / "plain" / "config.json").write_text("{")
    assert ids(Catalog([folder])) == ["chat", "reward"]


def test_without_a_best_model_the_newest_checkpoint_is_served(folder):
    shutil.rmtree(folder / "chat" / "best")
    entry = Catalog([folder]).find("chat")
    assert entry.directory.name == f"step-{max(entry.checkpoints)}"


def test_models_that_come_change_and_go_are_noticed_after_a_moment(folder, monkeypatch):
    found = Catalog([folder])
    before = found.find("plain")
    save(random_gpt(5), TOKENIZER, folder / "plain")
    shutil.rmtree(folder / "chat")
    save(random_gpt(), TOKENIZER, folder / "new")
    assert found.find("plain") is before
    monkeypatch.setattr(catalog, "SCAN_SECONDS", 0)
    assert ids(found) == ["a/base", "new", "plain", "reward"]
    after = found.find("plain")
    assert after.version != before.version
    assert found.find("plain") is not None
    assert found.find("a/base") is found.find("a/base")


def test_folders_that_are_not_there_are_empty(tmp_path):
    assert Catalog([tmp_path / "runs"]).entries() == []
