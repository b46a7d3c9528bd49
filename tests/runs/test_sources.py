"""The files behind a run, by size and time."""

import os
from dataclasses import dataclass

import pytest

from folio.runs.sources import files_behind, stamp


@dataclass(frozen=True)
class Named:
    data: str = ""
    validation: str | None = None
    model: str | None = None
    reward: tuple[str, ...] = ()


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in (
        "texts/a.txt",
        "texts/below/b.txt",
        "model/model.safetensors",
        "run/best/model.safetensors",
        "run/.lock",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path


def test_they_are_those_of_data_models_and_reward_models(place):
    config = Named("texts", "texts/a.txt", "run", ("model=0.5", "likes.py:f"))
    assert [str(path) for path in files_behind(config)] == [
        "texts/a.txt",
        "texts/below/b.txt",
        "texts/a.txt",
        "run/best/model.safetensors",
        "model/model.safetensors",
    ]


def test_the_text_of_instructions_is_behind_them(place):
    assert [str(path) for path in files_behind(Named("instructions:texts/a.txt"))] == ["texts/a.txt"]


@pytest.mark.parametrize("name", ["arithmetic", "OWNER/NAME:train", "nothing.txt", "x" * 5000])
def test_what_is_no_file_adds_nothing(place, name):
    assert list(files_behind(Named(name))) == []
    assert stamp(Named(name)) == ""  # so it is read every time


def test_the_stamp_tells_whether_files_have_changed(place):
    config = Named("texts", model="run")
    before = stamp(config)
    (place / "run" / ".lock").write_text("")  # which is not of the model
    assert stamp(config) == before
    (place / "texts" / "a.txt").write_text("longer than it was")
    assert stamp(config) != (second := before)
    os.utime(place / "texts" / "a.txt", ns=(1, 1))
    third = stamp(config)
    os.utime(place / "texts" / "a.txt", ns=(2, 2))
    assert len({second, third, stamp(config)}) == 3
    (place / "texts" / "c.txt").write_text("new")
    assert stamp(config) not in (second, third)
