"""The conversations that go with a model, where none are named."""

import pytest

from folio.errors import UserError
from folio.runs.default_data import data_for, named_or_default
from folio.runs.directory import RunDirectory


@pytest.fixture
def make_run(tmp_path, monkeypatch):
    """Write the run.json of a run with these settings; any model is found in it."""
    monkeypatch.setattr("folio.runs.default_data.find_model", lambda path: path)

    def make(name, stage, **settings):
        path = tmp_path / name
        path.mkdir(exist_ok=True)
        info = {"format": 2, "status": "finished", "stage": stage, "config": settings}
        RunDirectory(path).write_info({**info, "runtime": {}, "plan": {}, "data_sha256": ""})
        return path

    return make


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("my.txt", "instructions:my.txt"),
        ("shakespeare", "instructions:shakespeare"),
        ("arithmetic", "arithmetic"),
    ],
)
def test_a_base_goes_with_instructions_of_its_text(make_run, text, data):
    assert data_for(make_run("base", "pretrain", data=text)) == ((data,), None)


def test_an_assistant_goes_with_what_it_was_fine_tuned_on(make_run):
    base = make_run("base", "pretrain", data="my.txt")
    chats = make_run("chats", "sft", data="chats.jsonl", model=str(base))
    own = make_run("own", "sft", data=None, model=str(base))
    better = make_run("better", "ppo", prompts={"data": "other.jsonl"}, model=str(own))
    assert data_for(chats) == (("chats.jsonl",), None)
    assert data_for(own) == data_for(better) == (("instructions:my.txt",), None)
    (own / "best").mkdir()
    assert data_for(own / "best") == (("instructions:my.txt",), None)
    both = make_run("both", "sft", data=["instructions:my.txt", "chats.jsonl"], model=str(base))
    assert data_for(both) == (("instructions:my.txt", "chats.jsonl"), None)


def test_what_was_held_out_stays_so(make_run):
    base = make_run("base", "pretrain", data="my.txt", validation="other.txt")
    own = make_run("own", "sft", data=[], model=str(base))
    assert data_for(own) == (("instructions:my.txt",), "other.txt")
    assert named_or_default((), "third.txt", own) == (("instructions:my.txt",), "third.txt")
    assert named_or_default(("chats.jsonl",), None, own) == (("chats.jsonl",), None)


def test_a_model_without_a_run_has_none(make_run, tmp_path):
    with pytest.raises(UserError, match="name --data"):
        data_for(tmp_path)
