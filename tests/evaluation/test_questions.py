"""Answers to questions, against one pass for each option, and against lm-evaluation-harness where it is installed."""

import json

import pytest
import torch
from random_models import TOKENIZER, random_gpt

import folio
from folio.data.questions import Option, Question, questions_of
from folio.errors import FolioWarning, UserError
from folio.evaluation.questions import (
    Scored,
    answer,
    batches,
    cut,
    encode,
    evaluate_questions,
    interval,
    question_metrics,
    score,
)
from folio.tokenizer.bpe import BPETokenizer

ROWS = [
    {"query": "a bad", "choices": ["cab", "cafe", "fed bee"], "gold": 0},
    {"query": "fed ", "choices": ["bee", "a"], "gold": 1},
    {"sentence_good": "a bad bee", "sentence_bad": "bad a bee"},
    {"context_options": ["a cab", "a bee"], "continuation": "faded", "gold": 1},
    {"context": "a fed face", "continuation": "faded"},
    {"context": "", "continuation": "a"},
]


@pytest.fixture
def model():
    return random_gpt().eval()


def logprob(model, context, continuation):
    """ln p of a continuation, and of the white space before it, from one pass."""
    opening = [] if context else TOKENIZER.prompt("")
    ids = [*opening, *TOKENIZER.encode(context + continuation).tolist()]
    n = len(context) + len(continuation) - len(context.rstrip())
    return folio.logprobs(model, ids)[-n:].sum().item()


def test_each_option_has_the_probability_of_a_pass_of_its_own(model):
    questions, scored = answer(model, TOKENIZER, questions_of(ROWS))
    assert len(questions) == len(ROWS)
    for question, found in zip(questions, scored, strict=True):
        for option, each in zip(question.options, found, strict=True):
            assert each.logprob == pytest.approx(
                logprob(model, option.context, option.continuation), abs=1e-4
            )


def test_the_likeliest_continuation_is_what_the_model_writes(model):
    ids = TOKENIZER.encode("a bad").tolist()
    for _ in range(4):
        ids.append(int(model(torch.tensor([ids]))[0, -1].argmax()))
    written, other = ids[5:], [(each + 1) % TOKENIZER.vocab_size for each in ids[5:]]
    assert [likeliest for _, likeliest in score(model, [(ids[:5], written), (ids[:5], other)])] == [
        True,
        False,
    ]


def test_the_right_option_must_be_the_likeliest_and_by_length_too():
    question = Question([Option("", "abc"), Option("", "a")], gold=0)
    answers = [Scored(-3.0, 3, False), Scored(-2.0, 1, False)]
    found = question_metrics([question], [answers])
    assert (found["accuracy"], found["accuracy_norm"], found["chance"], found["n"]) == (0.0, 1.0, 0.5, 1)
    opened = question_metrics(
        [Question([Option("", "a")])] * 4, [[Scored(-1.0, 1, hit)] for hit in (True, False, False, False)]
    )
    assert (opened["accuracy"], opened["chance"]) == (0.25, 0.0)
    assert opened["accuracy_error"] == pytest.approx((0.25 * 0.75 / 3) ** 0.5)


def test_white_space_at_the_end_of_a_context_belongs_to_the_continuation():
    tokenizer = BPETokenizer.train("a bad cab fed a bee " * 20, 280)
    context, continuation = encode(tokenizer, Option("a bad ", "cab"))
    assert tokenizer.decode(context) == "a bad"
    assert tokenizer.decode(continuation) == " cab"


@pytest.mark.parametrize(("n_context", "n_continuation"), [(3, 2), (40, 2), (2, 40), (40, 40)])
def test_the_end_is_kept_where_a_question_is_too_long(n_context, n_continuation):
    context, continuation = list(range(n_context)), list(range(100, 100 + n_continuation))
    kept, rest = cut(context, continuation, 33)
    assert len(kept) + len(rest) == min(33, n_context + n_continuation)
    assert len(kept) >= 1
    assert (kept, rest) == (
        context[len(context) - len(kept) :],
        continuation[len(continuation) - len(rest) :],
    )


def test_long_questions_are_counted(model):
    long = {"context": "a bad cab " * 10, "continuation": "fed"}
    with pytest.warns(
        FolioWarning, match="1 of 2 options are longer than the 32 tokens that the model reads"
    ):
        evaluate_questions(model, TOKENIZER, [long, ROWS[-1]])


def test_questions_with_unknown_characters_are_counted_and_left_out(model):
    strange = {"context": "Zoë", "continuation": "a"}
    with pytest.warns(
        FolioWarning,
        match="1 of 7 questions have characters that the model has never seen: they are left out",
    ):
        assert evaluate_questions(model, TOKENIZER, [*ROWS, strange])["n"] == 6
    with pytest.raises(UserError, match="1 of 1 questions"):
        evaluate_questions(model, TOKENIZER, [strange])
    with pytest.raises(UserError, match="there are no questions"):
        evaluate_questions(model, TOKENIZER, [])


def test_every_row_is_read_once_in_batches_of_like_length():
    lengths = [3, 9000, 5, 1, 400, 5]
    found = list(batches(lengths, vocab_size=50_000))
    assert sorted(row for rows in found for row in rows) == list(range(6))
    assert found[0] == [1]
    assert all(
        len(rows) == 1 or len(rows) * max(lengths[row] for row in rows) * 50_000 <= 2**25 for rows in found
    )


def test_the_interval_of_a_share():
    """Wilson (1927), as statsmodels' proportion_confint gives it."""
    assert interval(0.5, 100) == pytest.approx((0.40383, 0.59617), abs=1e-5)
    assert interval(0.0, 10) == pytest.approx((0.0, 0.27753), abs=1e-5)


def test_as_lm_evaluation_harness(model, tmp_path):
    lm_eval = pytest.importorskip("lm_eval", reason="lm-eval is not installed")
    rows = [row for row in ROWS if "choices" in row and len(row["choices"]) == 3] * 3
    rows += [{**rows[0], "gold": gold} for gold in (1, 2)]
    folio.save(model, TOKENIZER, tmp_path / "model")
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = {
        **{"task": "rows", "dataset_path": "json", "test_split": "test", "output_type": "multiple_choice"},
        **{"dataset_kwargs": {"data_files": {"test": str(tmp_path / "rows.jsonl")}}},
        **{"doc_to_text": "{{query}}", "doc_to_choice": "choices", "doc_to_target": "gold"},
        "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
    }
    arguments = f"pretrained={tmp_path / 'model'},dtype=float32"
    theirs = lm_eval.simple_evaluate("hf", model_args=arguments, tasks=[task], device="cpu")["results"][
        "rows"
    ]
    ours = evaluate_questions(model, TOKENIZER, rows)
    assert ours["accuracy"] == pytest.approx(theirs["acc,none"])
    assert ours["accuracy_norm"] == pytest.approx(theirs["acc_norm,none"])
    assert ours["accuracy_error"] == pytest.approx(theirs["acc_stderr,none"])
