"""Errors of parsers become one line; others stay what they are."""

import errno
import json
from pathlib import Path

import numpy as np
import pytest
import tokenizers
import torch

from folio.errors import UserError, exhausted, parsing, reason

PATH = Path("some/file.json")


@pytest.mark.parametrize(
    "error", [ValueError("bad"), RecursionError(), MemoryError(), OSError(2, "gone"), Exception("x")]
)
def test_an_error_of_a_parser_is_the_files_fault(error: Exception) -> None:
    with (
        pytest.raises(UserError, match=r"some.file\.json cannot be read \(.+\)\. Copy it\."),
        parsing(PATH, "Copy it."),
    ):
        raise error


@pytest.mark.parametrize("error", [UserError("clear words"), KeyboardInterrupt(), SystemExit(1)])
def test_other_errors_stay_what_they_are(error: BaseException) -> None:
    with pytest.raises(type(error)) as raised, parsing(PATH):
        raise error
    assert raised.value is error


PANICS = {
    "version": "1.0",
    "normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"},
    "model": {"type": "BPE"},
}


def test_a_panic_of_a_rust_library_is_known_by_its_name() -> None:
    with pytest.raises(UserError, match="charsmap"), parsing(PATH):
        tokenizers.Tokenizer.from_str(json.dumps(PANICS))


def test_a_long_reason_is_cut_and_is_one_line() -> None:
    assert len(reason(ValueError("a\nb " * 1_000))) < 310
    assert "\n" not in reason(ValueError("a\nb"))
    assert reason(ValueError()) == "ValueError"


@pytest.mark.parametrize(
    "allocate",
    [lambda: torch.empty(2**45), lambda: torch.empty(2**62), lambda: np.empty(2**50), lambda: [0] * 2**58],
)
def test_an_allocation_that_is_too_large_is_told_as_such(allocate) -> None:
    with pytest.raises((RuntimeError, MemoryError)) as caught:
        allocate()
    assert "not enough memory" in str(exhausted(caught.value))


def test_of_a_full_disk_the_file_is_named() -> None:
    words = exhausted(OSError(errno.ENOSPC, "No space left on device", "some/file"))
    assert words == "some/file cannot be written (No space left on device): make room on the disk."


@pytest.mark.parametrize(
    "error", [ValueError("x"), RuntimeError("shapes"), RecursionError(), OSError(2, "gone"), SystemExit(0)]
)
def test_what_is_no_lack_of_anything_is_not_called_one(error: BaseException) -> None:
    assert exhausted(error) is None
