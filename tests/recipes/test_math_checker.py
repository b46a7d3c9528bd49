"""The checker of word problems: right however the number is written, and worth nothing otherwise."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from folio.rl.functions import load_function
from folio.runs.recipes import find_recipe_file

SPEC = find_recipe_file("math/checker.py:score")
SOLUTIONS = ["She makes 9 * 2 = $<<9*2=18>>18.\n#### 18", "Thus:\n#### 1,080", "#### -5", "#### 0.5"]

score = load_function(SPEC)


def test_a_solution_is_right_and_those_of_others_are_not():
    for answer in SOLUTIONS:
        assert [score("", told, answer) for told in SOLUTIONS] == [
            float(answer == each) for each in SOLUTIONS
        ]


RIGHT = ["#### 1080", "####1080", "####  1,080", "#### $1,080", "#### 1080.", "#### 1,080.00", "#### 1080 miles",
         "#### 7\n#### 1080", "It is 7.\n#### 1080\n"]  # fmt: skip
WRONG = ["", "1080", "### 1080", "####", "#### -1080", "#### 1081", "#### 10800", "#### 1080.5", "#### 1080\n#### 7",
         "#### ١٠٨٠", "#### ten", "#### x 1080", "#### ."]  # fmt: skip


@pytest.mark.parametrize(
    ("completion", "expected"), [*((each, 1) for each in RIGHT), *((each, 0) for each in WRONG)]
)
def test_only_the_last_number_after_the_sign_counts(completion, expected):
    assert score("", completion, "#### 1,080") == expected


def test_signs_and_fractions():
    assert [score("", f"#### {each}", "#### -5") for each in ("-5", "-$5", "$-5", "5")] == [1, 1, 1, 0]
    assert [score("", f"#### {each}", "#### 0.5") for each in ("0.5", "0.50", "5", "0")] == [1, 1, 0, 0]


@given(st.text())
def test_whatever_is_written_is_worth_0_or_1(completion):
    assert score("", completion, "#### 18") in (0.0, 1.0)
    assert score("", f"#### {completion}", "#### 18") in (0.0, 1.0)


def test_a_solution_without_a_number_is_a_mistake():
    with pytest.raises(ValueError, match="has no number after ####"):
        score("", "#### 1", "One.")


def test_every_real_solution_is_right():
    folder = Path(os.environ.get("FOLIO_DATA") or "nowhere").expanduser()
    if not (folder / "math/gsm8k_train.jsonl").exists():
        pytest.skip("FOLIO_DATA names no folder with math/gsm8k_train.jsonl")
    for part in ("train", "test"):
        lines = (folder / f"math/gsm8k_{part}.jsonl").read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
        assert all(score(row["question"], row["answer"], row["answer"]) == 1 for row in rows)
