"""The answers to questions about a run, on a finished tiny one."""

import math

import pytest
from tiny import TINY

from folio.errors import UserError
from folio.lecture.quiz import AboutRun, OwnRun, load_quiz, page_names
from folio.report.quiz_answers import FORMULAS, all_formulas, answer_for
from folio.report.quiz_run import find_stage, read_finished_run
from folio.runs.directory import RunDirectory
from folio.runs.load import load


@pytest.fixture(scope="module")
def tiny(finished):
    return read_finished_run(finished)


QUESTIONS = [
    question
    for page in page_names()
    for question in load_quiz(page).questions
    if isinstance(question, AboutRun)
]


def test_the_quizzes_use_every_formula_and_no_other():
    assert sorted(question.computed for question in QUESTIONS) == sorted(all_formulas())


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.computed)
def test_every_formula_gives_an_answer_from_a_finished_run(chain, question):
    found = answer_for(find_stage(chain, question.stage), question.computed)
    if isinstance(question, OwnRun):
        assert math.isfinite(found.value)
        assert found.working.endswith(".")
    else:
        answers = [found.right, *found.wrong]
        assert 2 <= len({answer.answer for answer in answers}) == len(answers)
        assert all(answer.words.endswith(".") for answer in answers)


def test_losses_are_those_of_the_run(tiny):
    records = RunDirectory(tiny.path).read_metrics()
    best = min((each for each in records if "val_loss" in each), key=lambda each: each["val_loss"])
    value = {name: answer_for(tiny, name).value for name in FORMULAS}
    assert value["first_loss"] == pytest.approx(math.log(27), abs=1e-3)  # 22 characters and 5 special tokens
    assert value["equal_choices"] == pytest.approx(math.exp(best["val_loss"]))
    assert value["packed_bytes"] == pytest.approx(125 * best["val_bpb"])
    assert value["best_step"] == best["step"]
    assert value["loss_gap"] == pytest.approx(records[-1]["val_loss"] - records[-1]["loss"])
    assert value["thousand_tokens"] == records[-1]["tokens"] / 1000


def test_parameters_are_those_of_the_model(tiny):
    model, _ = load(tiny.path)
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    total = sum(sizes.values())

    def share(*words):
        return 100 * sum(n for name, n in sizes.items() if any(word in name for word in words)) / total

    assert answer_for(tiny, "thousand_parameters").value == total / 1000
    assert answer_for(tiny, "feed_forward_share").value == pytest.approx(share(".mlp."))
    assert answer_for(tiny, "table_share").value == pytest.approx(share("embedding", "head."))
    assert answer_for(tiny, "norm_share").value == pytest.approx(share("norm"))


def test_sizes_are_those_of_the_run(tiny):
    expected = {  # 2 layers, 2 heads of 8, 24 inside, a context of 16
        "position_table": 16 * 16,
        "masked_share": 100 * 120 / 256,
        "largest_average_weight": 100 / 16,
        "score_divisor": 8**0.5,
        "largest_score": 8**0.5,
        "n_heads": 4,
        "n_hidden": 48,
        "n_additions": 4,
        "slowest_turn": math.degrees(15 * 10_000 ** (-6 / 8)),
        "decay_start": 8,
    }
    assert {name: answer_for(tiny, name).value for name in expected} == pytest.approx(expected)


def test_the_learning_rate_falls_after_the_step_that_is_named(folio, text_file, tmp_path):
    flags = ("--run", tmp_path / "run", *TINY, "--warmup-steps", "2", "--decay-fraction", "0.5")
    assert folio("pretrain", "--data", text_file, *flags).code == 0
    start = answer_for(read_finished_run(tmp_path / "run"), "decay_start").value
    rates = {each["step"]: each["learning_rate"] for each in RunDirectory(tmp_path / "run").read_metrics()}
    assert rates[start - 1] == rates[start] > rates[start + 1] > rates[start + 2]


def test_an_architecture_with_other_names_has_the_same_parts(folio, text_file, tmp_path):
    flags = ("--run", tmp_path / "run", *TINY, "--architecture", "gpt2", "--steps", "2")
    assert folio("pretrain", "--data", text_file, *flags).code == 0
    run = read_finished_run(tmp_path / "run")
    C, V, T, L, inside = 16, 27, 16, 2, 24
    norms = L * 4 * C + 2 * C
    mlp = L * (2 * C * inside + inside + C)
    attention = L * (4 * C * C + 4 * C)
    total = 2 * V * C + T * C + norms + mlp + attention
    assert run.n_parameters == total
    for name, count in (("feed_forward_share", mlp), ("norm_share", norms), ("table_share", 2 * V * C)):
        assert answer_for(run, name).value == pytest.approx(100 * count / total), name


def test_an_unknown_formula_is_named(tiny):
    with pytest.raises(UserError, match=r"unknown formula, __import__\. Known: first_loss"):
        answer_for(tiny, "__import__")
