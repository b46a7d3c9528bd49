"""Quizzes: what a file may hold, what counts as right, and that the figures in the files are right."""

import math
from dataclasses import replace

import pytest
import torch

from folio.data.conversations import tokenize
from folio.errors import UserError
from folio.inference.sampler import SampledRow, Sampler
from folio.inference.sampling import RowSampling, SamplingConfig
from folio.lecture.gpt import Attention
from folio.lecture.ladder import LADDER, LAPTOP, SMALL
from folio.lecture.parts import SwiGLU
from folio.lecture.quiz import (
    PAGES,
    Choice,
    Chosen,
    Computed,
    Number,
    Option,
    OwnChoice,
    OwnRun,
    find_page,
    format_value,
    load_quiz,
    page_names,
    read_number,
    read_quiz,
)
from folio.objectives.reward import bradley_terry_loss
from folio.rl.advantages import group_advantages
from folio.tokenizer.char import CharTokenizer
from folio.tokenizer.special_tokens import SPECIAL_TOKENS

QUIZZES = [load_quiz(page) for page in page_names()]
QUESTIONS = [
    pytest.param(question, id=f"{quiz.page}/{question.id}") for quiz in QUIZZES for question in quiz.questions
]
CHOICE = """
[[question]]
kind = "choice"
id = "sky"
question = "Which color has the sky?"
right = "Blue."
reason = "Short waves are scattered most."

[[question.wrong]]
answer = "Green."
misconception = "That is grass."
"""
NUMBER = """
[[question]]
kind = "number"
id = "legs"
question = "How many legs has a spider?"
answer = 8
tolerance = 0.5
working = "Four pairs."
"""


def n_parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def rung_parameters(rung, **size):
    with torch.device("meta"):
        return n_parameters(LADDER[rung].build(65, replace(LADDER[rung].size, **size)))


def layer_parameters(width):
    """What one more layer adds to the rung of page 10."""
    one, two = (rung_parameters("scale_up", n_embd=width, n_layer=n) for n in (1, 2))
    return two - one


def nucleus_share(probabilities, top_p):
    """The share of draws in which the first token comes."""
    n, config = 20_000, SamplingConfig(top_p=top_p)
    rows = [SampledRow(RowSampling(sampling=config, choice=row), [], []) for row in range(n)]
    draw = Sampler(rows, len(probabilities), torch.device("cpu"))
    tokens, _ = draw(torch.tensor(probabilities).log().expand(n, -1))
    return (tokens == 0).float().mean()


def slope_of_the_last_score():
    """The gradient of the last of three scores, which is right."""
    scores = torch.tensor([0.2, 0.5, 0.3]).log().requires_grad_()
    torch.nn.functional.cross_entropy(scores, torch.tensor(2)).backward()
    return scores.grad[2]


def first_step_of_adam(gradient, rate):
    parameter = torch.zeros(1)
    parameter.grad = torch.tensor([gradient])
    torch.optim.Adam([parameter], lr=rate).step()
    return parameter.abs()


def tokens_that_count(question, answer):
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return tokenize(CharTokenizer.train(question + answer), messages, max_tokens=40).weights.sum()


def slope(of, at):
    x = torch.tensor([at], requires_grad=True)
    return torch.autograd.grad(of(x), x)[0]


VALUES = {
    "score-ratio": lambda: math.exp(3) / math.exp(1),
    "half-the-width": lambda: rung_parameters("position", n_embd=16),
    "two-scores": lambda: torch.tensor([1.0, 0.0]).softmax(0)[0],
    "spread-of-a-sum": lambda: (torch.randn(100_000, 100) * torch.randn(100_000, 100)).sum(1).std(),
    "six-heads": lambda: n_parameters(LADDER["multi_head"].attend(replace(SMALL, n_embd=48, n_head=6))),
    "all-three": lambda: sum(max(0, a + b + c - 2) > 0 for a in (0, 1) for b in (0, 1) for c in (0, 1)),
    "parameters-at-64": lambda: n_parameters(LADDER["feed_forward"].think(replace(SMALL, n_embd=64))),
    "four-slopes": lambda: 1.2**4,
    "standard-deviation": lambda: torch.tensor([2.0, 4.0, 6.0, 8.0]).std(correction=0),
    "a-quarter": lambda: torch.nn.functional.dropout(torch.ones(100), 0.25).max(),
    "layer-at-64": lambda: layer_parameters(64),
    "saved-by-tying": lambda: torch.nn.Embedding(1000, 256).weight.numel() / 1000,
    "slow-hand": lambda: 2 * math.pi / 10_000 ** (-2 / 4),
    "root-mean-square": lambda: torch.tensor([1.0, 7.0]).square().mean().sqrt(),
    "inside-at-96": lambda: SwiGLU(96).gate.out_features,
    "tokens-in-a-step": lambda: 8 * 256,
    "operations": lambda: 6 * 1e9 * 20e9 / 1e20,
    "attention-at-64": lambda: n_parameters(Attention(64, n_head=4, dropout=0.0)),
    "half-the-temperature": lambda: math.exp(2 / 0.5),
    "nucleus-share": lambda: nucleus_share([0.5, 0.3, 0.15, 0.05], top_p=0.9),
    "n-merges": lambda: 1024 - 256 - len(SPECIAL_TOKENS),
    "one-round": lambda: 3.4445 * 0.1 - 4.775 * 0.1**3 + 2.0315 * 0.1**5,
    "slope-of-the-right-score": slope_of_the_last_score,
    "first-step-of-adam": lambda: first_step_of_adam(gradient=50.0, rate=0.01),
    "tokens-that-count": lambda: tokens_that_count("Who?", "Me."),
    "worth-of-a-prompt": lambda: math.log(0.8) - math.log(0.2),
    "two-of-eight": lambda: group_advantages(torch.tensor([1.0] * 2 + [0.0] * 6), 8)[0],
    "pass-at-two": lambda: 1 - math.comb(10 - 3, 2) / math.comb(10, 2),
    "gold-peak": lambda: max(range(1, 3600), key=lambda n: 0.6 * (n / 100) ** 0.5 - 0.1 * n / 100) / 100,
    "chain-of-odds": lambda: torch.tensor(2 * math.log(4)).sigmoid(),
    "slope-of-a-mistake": lambda: slope(lambda r: bradley_terry_loss(r, torch.tensor([2.0])).total, 1.0),
    "slope-of-the-reward": lambda: slope(lambda t: (5 * t.sigmoid() + (-t).sigmoid()).sum(), 0.0),
    "best-with-a-price": lambda: (torch.tensor([0.2, 0.8]).log() + torch.tensor([2.0, 1.0]) / 0.5).softmax(0)[
        0
    ],
}
"""The answer to each question with a fixed number, worked out by code."""


def test_every_page_has_a_quiz():
    assert page_names() == sorted(path.stem for path in PAGES.glob("[0-9]*.md"))


@pytest.mark.parametrize("quiz", QUIZZES, ids=lambda quiz: quiz.page)
def test_a_quiz_has_three_to_seven_questions_of_several_kinds(quiz):
    assert 3 <= len(quiz.questions) <= 7
    assert 2 <= sum(not question.needs_run for question in quiz.questions) <= 5
    is_rung = 1 <= int(quiz.page[:2]) <= 15  # some pages after them are about no run
    second = OwnRun if is_rung else Number
    assert {Choice, second} <= {type(question) for question in quiz.questions}


@pytest.mark.parametrize("question", QUESTIONS)
def test_an_answer_is_right_and_every_other_one_has_its_reason(question):
    computed = Computed(50.0, "Twice 25.")
    if isinstance(question, OwnChoice):
        computed = Chosen(Option("Yes", "It is."), [Option("No", "It is not.")])
    asked = question.ask(lambda name: computed, seed="0")
    judged = [asked.judge(letter) for letter, _ in zip("abcde", asked.options, strict=False)]
    if asked.options:
        assert [verdict.is_right for verdict in judged].count(True) == 1
        assert len({verdict.words for verdict in judged}) == len(judged) >= 2
    else:
        assert asked.judge(str(asked.value)).is_right
        assert not asked.judge("-12345").is_right
        assert asked.tolerance < max(1.0, abs(asked.value))


@pytest.mark.parametrize("question", [each for each in QUESTIONS if isinstance(each.values[0], Choice)])
def test_a_right_answer_does_not_show_by_its_length(question):
    assert len(question.right) <= 1.9 * max(len(wrong.answer) for wrong in question.wrong)
    assert len(question.wrong) >= 2


def test_every_fixed_number_is_right():
    numbers = {each.id: each for quiz in QUIZZES for each in quiz.questions if isinstance(each, Number)}
    assert numbers.keys() == VALUES.keys()
    for name, number in numbers.items():
        assert float(VALUES[name]()) == pytest.approx(number.answer, rel=0.01, abs=number.tolerance / 5), name


def test_facts_of_the_ladder_that_the_questions_name():
    assert LAPTOP.block_size == 64
    assert rung_parameters("single_head") == rung_parameters("multi_head")
    assert round(math.exp(2.484)) == 12


def test_options_are_shuffled_and_the_order_follows_from_the_seed():
    question = next(each for each in QUIZZES[0].questions if isinstance(each, Choice))
    orders = [tuple(question.ask(Computed, seed=str(n)).options) for n in range(20)]
    assert len(set(orders)) > 1
    assert tuple(question.ask(Computed, seed="3").options) == orders[3]


def test_a_wrong_choice_names_the_misconception_and_the_right_letter(tmp_path):
    asked = read(tmp_path, CHOICE).questions[0].ask(Computed, seed="0")
    right, wrong = ("ab"[asked.options.index(words)] for words in ("Blue.", "Green."))
    assert asked.judge(f" {right.upper()}) ").words == "Right. Short waves are scattered most."
    verdict = asked.judge(wrong)
    assert not verdict.is_right
    assert verdict.words == f"No. That is grass.\nThe answer is {right}. Short waves are scattered most."
    for typed in ("", "c", "ab", "blue", "1", "é"):
        with pytest.raises(ValueError, match="type a or b"):
            asked.judge(typed)


def test_a_number_is_right_up_to_its_tolerance(tmp_path):
    asked = read(tmp_path, NUMBER).questions[0].ask(Computed, seed="0")
    assert [asked.judge(typed).is_right for typed in ("8", "8.5", "7.5", "8.51", "-8")] == [
        *(True, True, True),
        *(False, False),
    ]
    assert asked.judge("8").words == "Right: 8. Four pairs."
    assert asked.judge("6").words == "No: 8. Four pairs."


def test_a_question_about_a_run_has_the_larger_of_two_tolerances():
    question = OwnRun(id="a", question="?", computed="loss", tolerance=0.1, within=0.05, reason="So it is.")
    for value, distance in ((2.0, 0.2), (-2.0, 0.2), (0.0, 0.05)):
        asked = question.ask(lambda name, value=value: Computed(value, f"By {name}."), seed="0")
        assert asked.judge(str(value + 0.99 * distance)).is_right
        assert not asked.judge(str(value + 1.01 * distance)).is_right
        assert asked.judge("9").words.endswith("By loss. So it is.")


@pytest.mark.parametrize(
    ("typed", "value"),
    [("8", 8), (" 1,234.5 ", 1234.5), ("1/2", 0.5), ("66 %", 66), ("-.5", -0.5), ("−3", -3), ("1e3", 1000), ("1 000", 1000)],
)  # fmt: skip
def test_numbers_as_people_type_them(typed, value):
    assert read_number(typed) == value


@pytest.mark.parametrize(
    "typed", ["", "eight", "1,5", "nan", "inf", "1/0", "1e999", "e5", "1/2/3", "%", "٣.٤.", "9" * 5000]
)
def test_what_is_no_number(typed):
    with pytest.raises(ValueError, match="type a"):
        read_number(typed)


def test_values_are_shown_short():
    shown = [format_value(value) for value in (8.0, 4.24849, 10788929, 1234.56, 0.012345, -0.5)]
    assert shown == ["8", "4.248", "10,788,929", "1,235", "0.01235", "-0.5"]


@pytest.mark.parametrize(
    "given", ["4", "04", "single-head", "single_head", "04-single-head", "Single-Head", "04-single-head.md"]
)
def test_a_page_has_several_names(given):
    assert find_page(given) == "04-single-head"


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("bigrm", "Did you mean bigram?"),
        ("04-single-hed", "Did you mean single-head?"),
        ("99", "Pages: text-to-batches, bigram, "),
    ],
)
def test_an_unknown_page_is_named(given, hint):
    with pytest.raises(UserError) as caught:
        find_page(given)
    assert str(caught.value).startswith(f"unknown page {given!r}. {hint}")


def read(tmp_path, text):
    file = tmp_path / "99-colors.quiz.toml"
    file.write_text(text, encoding="utf-8")
    return read_quiz(file)


BROKEN = {
    "no TOML": ("[[", "cannot be read"),
    "nothing": ("", "question must be a list of tables"),
    "a table": ("[question]\nid = 'a'", "question must be a list of tables"),
    "another key": (CHOICE + "\n[extra]\n", "unknown key extra"),
    "no kind": (CHOICE.replace('kind = "choice"', ""), "question 1: kind is None"),
    "another kind": (CHOICE.replace('"choice"', '"riddle"'), "kind is 'riddle'; it can be 'choice'"),
    "a kind that is a list": (CHOICE.replace('"choice"', "[]"), "kind is []"),
    "no reason": (CHOICE.replace("reason =", "# ="), "question 1: reason is missing"),
    "a slip": (CHOICE.replace("reason =", "reson ="), "unknown key reson. Did you mean reason?"),
    "an empty answer": (CHOICE.replace('"Green."', '" "'), "wrong has an empty answer"),
    "no misconception": (CHOICE.replace("misconception", "# "), "wrong 1: misconception is missing"),
    "no wrong answer": (CHOICE.split("[[question.wrong]]", maxsplit=1)[0], "wrong must be a list of tables"),
    "wrong is a text": (CHOICE.split("[[question.wrong]]", maxsplit=1)[0] + "wrong = 'x'", "wrong must be a list"),
    "the same answer": (CHOICE.replace('"Green."', '"Blue."'), "two answers are the same"),
    "an empty reason": (CHOICE.replace('"Short waves are scattered most."', '""'), "reason is empty"),
    "a strange id": (CHOICE.replace('"sky"', '"The sky"'), "id is 'The sky'"),
    "the same id": (CHOICE + CHOICE, "two questions have the id sky"),
    "a number as text": (NUMBER.replace("8", "'8'"), "question 1: answer is '8'; it must be of type float"),
    "no bound": (NUMBER.replace("8", "1e300"), "answer is 1e+300: it must be"),
    "below zero": (NUMBER.replace("0.5", "-0.5"), "tolerance is -0.5: it must be at least 0"),
    "not a number": (NUMBER.replace("8", "nan"), "answer is nan: it must be"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "words"), BROKEN.values(), ids=BROKEN)
def test_a_broken_quiz_names_file_and_key(tmp_path, text, words):
    with pytest.raises(UserError) as caught:
        read(tmp_path, text)
    assert str(caught.value).startswith(str(tmp_path / "99-colors.quiz.toml"))
    assert words in str(caught.value)


OWN_CHOICE = OwnChoice(id="mine", question="Which?", computed="f", stage="sft", reason="So it is.")


def test_a_choice_about_the_own_run_shows_what_was_given_and_its_reasons():
    found = Chosen(Option("one", "It is first."), [Option("two", "It is second.")], given="A line.")
    asked = OWN_CHOICE.ask(lambda name: found, seed="0")
    assert asked.given == "A line."
    assert sorted(asked.options) == ["one", "two"]
    right, wrong = ("ab"[asked.options.index(words)] for words in ("one", "two"))
    assert asked.judge(right).words == "Right. It is first. So it is."
    assert asked.judge(wrong).words == f"No. It is second.\nThe answer is {right}. It is first. So it is."


@pytest.mark.parametrize("found", [Computed(1.0, "One."), Chosen(Option("one", "It is."), [])])
def test_a_formula_of_another_kind_is_named(found):
    with pytest.raises(UserError, match="question mine is multiple choice, and f gives no answers"):
        OWN_CHOICE.ask(lambda name: found, seed="0")


def test_a_number_needs_a_formula_of_numbers():
    question = OwnRun(id="mine", question="How many?", computed="f", reason="So it is.")
    with pytest.raises(UserError, match="question mine is about a number, and f gives none"):
        question.ask(lambda name: Chosen(Option("one", "It is."), []), seed="0")
