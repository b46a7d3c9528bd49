"""Questions with their answers: multiple choice, minimal pairs, and words that are to be guessed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from folio.data.columns import Record
from folio.errors import UserError

Made = TypeVar("Made")


@dataclass(frozen=True)
class Option:
    """An answer that a model is asked for the probability of: a continuation of a context."""

    context: str
    continuation: str


@dataclass(frozen=True)
class Question:
    """Options, of which the one at `gold` is right.

    With a single option the question is open: whether the model, which takes its likeliest token each time, would write it.
    """

    options: Sequence[Option]
    gold: int = 0


def question_of(row: Record, where: str = "") -> Question:
    """Return the question of a row, in any of FORMS. where: words on where it stands, which are not needed.

    Raises UserError for what is none.
    """
    return in_form(row, FORMS)


def in_form(row: Record, forms: Mapping[frozenset[str], Callable[[Record], Made]]) -> Made:
    """Return what is made of a row by the first of the forms whose columns it has.

    Raises UserError, which names the columns of all, where it has those of none.
    """
    for columns, make in forms.items():
        if columns <= row.keys():
            return make(row)
    told = "; or ".join(", ".join(f"`{name}`" for name in sorted(columns)) for columns in forms)
    raise UserError(f"it must have {told}; it has: {', '.join(row)}.")


def minimal_pair(row: Record) -> Question:
    """Return the question which of two sentences is grammatical, as in BLiMP (Warstadt et al., 2020)."""
    for name in BOOKKEEPING & row.keys():
        row[name]
    good, bad = (text_in(row, f"sentence_{name}") for name in ("good", "bad"))
    return Question([Option("", good), Option("", bad)])


def multiple_choice(row: Record) -> Question:
    """Return the question which of several continuations a query has, as in HellaSwag."""
    query = text_in(row, "query")
    return Question(
        [Option(query, spaced(query, each)) for each in texts_in(row, "choices")], gold_of(row, "choices")
    )


def schema(row: Record) -> Question:
    """Return the question which of several contexts a continuation has, as in a Winograd schema."""
    contexts, continuation = texts_in(row, "context_options"), text_in(row, "continuation")
    return Question(
        [Option(each, spaced(each, continuation)) for each in contexts], gold_of(row, "context_options")
    )


def open_question(row: Record) -> Question:
    """Return the question of a text of which the end is to be guessed, as in LAMBADA."""
    context = text_in(row, "context")
    return Question([Option(context, spaced(context, text_in(row, "continuation")))])


FORMS: Mapping[frozenset[str], Callable[[Record], Question]] = {
    frozenset({"sentence_good", "sentence_bad"}): minimal_pair,
    frozenset({"query", "choices", "gold"}): multiple_choice,
    frozenset({"context_options", "continuation", "gold"}): schema,
    frozenset({"context", "continuation"}): open_question,
}
"""Columns, and what makes a question of them."""
BOOKKEEPING = {
    *("UID", "pairID", "pair_id", "field", "linguistics_term"),
    *("simple_LM_method", "one_prefix_method", "two_prefix_method", "lexically_identical"),
}
"""Columns by which BLiMP sorts its pairs: they say nothing about what is asked."""


def questions_of(rows: Iterable[Record]) -> list[Question]:
    """Return the questions of rows. Raises UserError, with the number of the row, for what is none."""
    questions = []
    for number, row in enumerate(rows, start=1):
        try:
            questions.append(question_of(row))
        except UserError as error:
            raise UserError(f"question {number}: {error}") from None
    return questions


def spaced(context: str, continuation: str) -> str:
    """Return a continuation with a space before it, unless one of the two has white space there, or the context is empty."""
    is_apart = not context or context[-1].isspace() or continuation[:1].isspace()
    return continuation if is_apart else f" {continuation}"


def text_in(row: Record, name: str) -> str:
    """Return a text. Raises UserError for another value, and where an answer would be empty."""
    text = row[name]
    if not isinstance(text, str) or not (text or name in MAY_BE_EMPTY):
        raise UserError(f"`{name}` must be a text.")
    return text


MAY_BE_EMPTY = {"query", "context"}
"""Columns of what comes before an answer, which may come after nothing."""


def texts_in(row: Record, name: str) -> list[str]:
    """Return at least two texts. Raises UserError for another value."""
    texts = row[name]
    if (
        not isinstance(texts, list | tuple)
        or len(texts) < 2
        or not all(isinstance(text, str) and text for text in texts)
    ):
        raise UserError(f"`{name}` must be a list of two or more texts.")
    return list(texts)


def gold_of(row: Record, name: str) -> int:
    """Return the place of the right one of the texts called `name`, from 0. Raises UserError where there is none."""
    gold = row["gold"]
    if isinstance(gold, bool) or not isinstance(gold, int) or not 0 <= gold < len(row[name]):
        raise UserError(
            f"`gold` must be the place of the right one in `{name}`, from 0 to {len(row[name]) - 1}."
        )
    return gold
