"""The checker of word problems: right however the number is written, and worth nothing otherwise."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from folio.runs.recipes import find_recipe_file
from folio.runs.rewards import load_function

SPEC = find_recipe_file("math/checker.py:score")
PROBLEMS = {
    "How much?": "She makes 9 * 2 = $<<9*2=18>>18.\n#### 18",
    "How far?": "Thus:\n#### 1,080",
    "How cold?": "#### -5",
    "What share?": "#### 0.5",
}


@pytest.fixture(scope="module")
def score(tmp_path_factory):
    """The checker, with problems of ours in a data folder."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "math").mkdir()
    rows = [json.dumps({"question": asked, "answer": told}) for asked, told in PROBLEMS.items()]
    for part, some in (("train", rows[:3]), ("test", rows[3:])):
        (folder / f"math/gsm8k_{part}.jsonl").write_text("\n".join(some))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FOLIO_DATA", str(folder))
        function = load_function(SPEC)
        function("How much?", "")  # reads them
    return function


def test_a_solution_is_right_and_those_of_others_are_not(score):
    for asked in PROBLEMS:
        assert [score(asked, told) for told in PROBLEMS.values()] == [
            float(asked == each) for each in PROBLEMS
        ]


RIGHT = ["#### 1080", "####1080", "####  1,080", "#### $1,080", "#### 1080.", "#### 1,080.00", "#### 1080 miles",
         "#### 7\n#### 1080", "It is 7.\n#### 1080\n"]  # fmt: skip
WRONG = ["", "1080", "### 1080", "####", "#### -1080", "#### 1081", "#### 10800", "#### 1080.5", "#### 1080\n#### 7",
         "#### ١٠٨٠", "#### ten", "#### x 1080", "#### ."]  # fmt: skip


@pytest.mark.parametrize(
    ("completion", "expected"), [*((each, 1) for each in RIGHT), *((each, 0) for each in WRONG)]
)
def test_only_the_last_number_after_the_sign_counts(score, completion, expected):
    assert score("How far?", completion) == expected


def test_signs_and_fractions(score):
    assert [score("How cold?", f"#### {each}") for each in ("-5", "-$5", "$-5", "5")] == [1, 1, 1, 0]
    assert [score("What share?", f"#### {each}") for each in ("0.5", "0.50", "5", "0")] == [1, 1, 0, 0]


@given(st.text())
def test_whatever_is_written_is_worth_0_or_1(score, completion):
    assert score("How much?", completion) in (0.0, 1.0)
    assert score("How much?", f"#### {completion}") in (0.0, 1.0)


def test_another_problem_is_a_mistake(score):
    with pytest.raises(LookupError):
        score("How many?", "#### 1")


def test_every_real_solution_is_right():
    folder = Path(os.environ.get("FOLIO_DATA") or "nowhere").expanduser()
    if not (folder / "math/gsm8k_train.jsonl").exists():
        pytest.skip("FOLIO_DATA names no folder with math/gsm8k_train.jsonl")
    function = load_function(SPEC)
    for part in ("train", "test"):
        lines = (folder / f"math/gsm8k_{part}.jsonl").read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
        assert all(function(row["question"], row["answer"]) == 1 for row in rows)
