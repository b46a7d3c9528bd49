"""Checkpoints: what is saved comes back to the last bit, and nothing that was saved is ever lost."""

import math
from pathlib import Path

import pytest
import torch
from directories import names, put
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes
from torch import Tensor

import folio.checkpoint
from folio.checkpoint import (
    load_state,
    newest_valid,
    random_state,
    restore_random_state,
    save_state,
    saved_steps,
)
from folio.errors import UserError
from folio.files import damage, write_directory

# State

DTYPES = (torch.float32, torch.bfloat16, torch.float64, torch.int64, torch.uint8, torch.bool)


@st.composite
def tensors(draw: st.DrawFn) -> Tensor:
    shape = draw(st.just(()) | array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=3))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    return (100 * torch.randn(shape, generator=generator)).to(draw(st.sampled_from(DTYPES)))


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec="utf-8"))
keys = st.text(st.characters(codec="utf-8"), max_size=4) | st.integers() | st.just("tensor") | st.just("dict")
states = st.dictionaries(
    st.text(max_size=5),
    st.recursive(
        scalars | tensors(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
        max_leaves=8,
    ),
    max_size=4,
)


def assert_same(ours: object, theirs: object) -> None:
    assert type(ours) is type(theirs)
    match ours, theirs:
        case Tensor(), Tensor():
            assert ours.dtype == theirs.dtype
            assert ours.shape == theirs.shape
            assert (
                ours.contiguous()
                .view(-1)
                .view(torch.uint8)
                .equal(theirs.contiguous().view(-1).view(torch.uint8))
            )
        case dict(), dict():
            assert list(ours) == list(theirs)
            for key in ours:
                assert_same(ours[key], theirs[key])
        case list(), list():
            assert len(ours) == len(theirs)
            for left, right in zip(ours, theirs, strict=True):
                assert_same(left, right)
        case float(), float():
            assert ours == theirs or (math.isnan(ours) and math.isnan(theirs))
            assert math.copysign(1, ours) == math.copysign(1, theirs) or math.isnan(ours)
        case _:
            assert ours == theirs


@settings(max_examples=60)
@given(state=states)
def test_a_state_comes_back_to_the_last_bit(tmp_path_factory, state):
    path = tmp_path_factory.getbasetemp() / "any.safetensors"
    save_state(path, state)
    assert_same(load_state(path), state)


def test_strided_tensors_and_parts_of_tensors_come_back(tmp_path):
    state = {"turned": torch.arange(12.0).view(3, 4).t(), "row": torch.rand(3, 4)[1]}
    save_state(tmp_path / "state", state)
    loaded = load_state(tmp_path / "state")
    for name, tensor in state.items():
        assert torch.equal(loaded[name], tensor), name


def test_an_optimizers_state_comes_back(tmp_path):
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    save_state(tmp_path / "state", {"optimizer": optimizer.state_dict()})
    state = load_state(tmp_path / "state")["optimizer"]
    assert set(state["state"]) == {0, 1}
    fresh = torch.optim.AdamW(model.parameters(), fused=True)
    fresh.load_state_dict(state)
    for ours, theirs in zip(fresh.state.values(), optimizer.state.values(), strict=True):
        assert_same(dict(ours), dict(theirs))


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x08\0\0\0\0\0\0\0{}      "])
def test_a_file_that_holds_no_state_is_an_error(tmp_path, content):
    (tmp_path / "state").write_bytes(content)
    with pytest.raises(UserError, match="damaged"):
        load_state(tmp_path / "state")


def test_a_missing_state_is_an_error(tmp_path):
    with pytest.raises(UserError, match="damaged"):
        load_state(tmp_path / "state")


def test_random_numbers_go_on_where_they_were(tmp_path):
    torch.rand(3)
    save_state(tmp_path / "state", {"random": random_state()})
    expected = torch.rand(5)
    torch.manual_seed(99)
    restore_random_state(load_state(tmp_path / "state")["random"])
    assert torch.equal(torch.rand(5), expected)


# Directories


def test_safetensors_own_words_for_a_full_disk_are_understood(tmp_path, monkeypatch):
    from safetensors import SafetensorError

    def fail(*arguments: object, **more: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(folio.checkpoint, "save_file", fail)
    with pytest.raises(UserError, match="No space left on device"):
        write_directory(tmp_path / "x", lambda temporary: save_state(temporary / "s", {"a": 1}))
    assert names(tmp_path) == set()


def flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


HARM = {
    "flipped": (lambda d: flip(d / "a.txt"), "a.txt has changed"),
    "cut": (lambda d: (d / "a.txt").write_bytes((d / "a.txt").read_bytes()[:-1]), "a.txt has changed"),
    "emptied": (lambda d: (d / "b.txt").write_bytes(b""), "b.txt has changed"),
    "missing": (lambda d: (d / "b.txt").unlink(), "b.txt is missing"),
    "no checksums": (lambda d: (d / "checksums.json").unlink(), "checksums.json is missing"),
    "bad checksums": (lambda d: (d / "checksums.json").write_text("{"), "checksums.json cannot be read"),
    "checksums cut to nothing": (
        lambda d: (d / "checksums.json").write_text(""),
        "checksums.json cannot be read",
    ),
    "no table": (lambda d: (d / "checksums.json").write_text("[]"), "checksums.json must hold a JSON object"),
    "not text": (lambda d: (d / "checksums.json").write_bytes(b"\xff"), "checksums.json cannot be read"),
}


@pytest.mark.parametrize("harm", HARM)
def test_damage_is_found_and_the_one_before_is_used(tmp_path, harm):
    for step in (10, 9, 100):
        put(tmp_path / f"step-{step}", "text of some length")
    assert newest_valid(tmp_path) == (tmp_path / "step-100", [])
    do, message = HARM[harm]
    do(tmp_path / "step-100")
    assert message in str(damage(tmp_path / "step-100"))
    path, problems = newest_valid(tmp_path)
    assert path == tmp_path / "step-10"
    (problem,) = problems
    assert "step-100 is damaged" in problem
    assert message in problem


def test_without_a_whole_one_there_is_none(tmp_path):
    assert newest_valid(tmp_path / "absent") == (None, [])
    put(tmp_path / "step-1", "text")
    (tmp_path / "step-1" / "a.txt").unlink()
    path, problems = newest_valid(tmp_path)
    assert path is None
    assert len(problems) == 1


def test_only_steps_are_steps(tmp_path):
    for name in ("step-2", "step-10", ".step-11.writing", ".step-9.previous", "step-", "step-x", "other"):
        (tmp_path / name).mkdir()
    assert [path.name for path in saved_steps(tmp_path)] == ["step-10", "step-2"]
