"""`folio doctor`."""

import platform

import pytest
import torch


@pytest.fixture
def doctor(folio, monkeypatch):
    monkeypatch.setattr("folio.commands.doctor.matmul_speed", lambda device, dtype: 5e10)
    monkeypatch.setattr("folio.runtime.matmul_speed", lambda device, dtype: 5e10)
    return lambda *flags: folio("doctor", "--device", "cpu", "--threads", "1", *flags)


def test_it_tells_what_it_should(doctor):
    done = doctor()
    assert (done.code, done.err) == (0, "")
    for words in (platform.python_version(), torch.__version__, "free", "threads", "compiler", "tokenizers"):
        assert words in done.out, words
    assert done.out.count("50 GFLOP/s") >= 2


def test_in_forty_columns(doctor, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    assert max(map(len, doctor().out.splitlines())) <= 40


def test_without_a_compiler(doctor, monkeypatch):
    monkeypatch.setattr("folio.commands.doctor.can_compile", lambda device: False)
    monkeypatch.setattr("folio.runtime.can_compile", lambda device: False)
    out = doctor().out
    assert "training works, but is slower" in out
    assert "not compiled" in " ".join(out.split())
