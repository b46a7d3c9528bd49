"""Questions with their answers: does the right one have the highest probability?"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from statistics import NormalDist
from typing import Any

import torch

from folio.batch import Completions
from folio.data.questions import Option, Question, questions_of
from folio.errors import FolioWarning, UserError
from folio.model.gpt import GPT
from folio.model.mode import evaluating
from folio.objectives.logprobs import token_logprobs
from folio.tokenizer.protocol import Tokenizer

Pair = tuple[Sequence[int], Sequence[int]]
"""Ids of a context and of its continuation."""
MOST_TOKENS = 8192
"""Tokens of a forward pass."""
MOST_SCORES = 2**25
"""Scores of a forward pass, one for each token and each entry of the vocabulary: 128 MB."""
Z = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True)
class Scored:
    """What a model says to an option.

    logprob: ln p of the continuation after its context, in nats. n_characters: its length without white space around it.
    is_likeliest: whether each of its
    tokens is the model's likeliest one.
    """

    logprob: float
    n_characters: int
    is_likeliest: bool


def evaluate_questions(
    model: GPT, tokenizer: Tokenizer, questions: Sequence[Mapping[str, Any]]
) -> dict[str, float]:
    """Evaluate how many questions a model answers rightly.

    Args:
        model: a model.
        tokenizer: its tokenizer.
        questions: rows such as `{"query": ..., "choices": [...], "gold": 0}`, `{"sentence_good": ..., "sentence_bad": ...}`,
            `{"context_options": [...], "continuation": ..., "gold": 0}` or `{"context": ..., "continuation": ...}`.

    Returns:
        What `question_metrics` returns.

    Raises:
        UserError: for a row that is no question, and where none can be asked.

    Warns with FolioWarning of questions with characters that the tokenizer does not know, which are left out, and of those
    of which the model reads the end only.
    """
    parsed = questions_of(questions)
    return question_metrics(*answer(model, tokenizer, parsed))


def question_metrics(questions: Sequence[Question], answers: Sequence[Sequence[Scored]]) -> dict[str, float]:
    """Return how many questions were answered rightly.

    Returns:
        `accuracy`: the share in which the right option has the highest probability, or, where there is one option only, is
        what the model would write; `accuracy_norm`: the same with log-probabilities divided by the number of characters,
        which does not favor short options; `accuracy_error`, `accuracy_norm_error`: their standard errors; `chance`: the
        accuracy of guessing; `n`: the number of questions. As lm-evaluation-harness computes acc and acc_norm.
    """
    right, right_norm = [], []
    for question, options in zip(questions, answers, strict=True):
        if len(options) == 1:
            right.append(options[0].is_likeliest)
            right_norm.append(options[0].is_likeliest)
        else:
            right.append(_place_of_highest([each.logprob for each in options]) == question.gold)
            right_norm.append(
                _place_of_highest([each.logprob / each.n_characters for each in options]) == question.gold
            )
    chances = [1 / len(each.options) if len(each.options) > 1 else 0.0 for each in questions]
    return {
        **_share("accuracy", right),
        **_share("accuracy_norm", right_norm),
        "chance": sum(chances) / len(chances),
        "n": len(questions),
    }


def _place_of_highest(values: Sequence[float]) -> int:
    return max(range(len(values)), key=values.__getitem__)


def _share(name: str, hits: Sequence[bool]) -> dict[str, float]:
    share = sum(hits) / len(hits)
    return {name: share, f"{name}_error": math.sqrt(share * (1 - share) / max(1, len(hits) - 1))}


def interval(share: float, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a share of n (Wilson, 1927)."""
    center = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * math.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    return max(0.0, center - half), min(1.0, center + half)


def answer(
    model: GPT, tokenizer: Tokenizer, questions: Sequence[Question]
) -> tuple[list[Question], list[list[Scored]]]:
    """Return the questions that can be asked, and what the model says to each of their options.

    Raises UserError where none can be asked, and warns as `evaluate_questions` does.
    """
    asked = [each for each in questions if not unknown_characters(tokenizer, each)]
    if len(asked) < len(questions):
        words = f"{len(questions) - len(asked):,} of {len(questions):,} questions have characters that the model has never seen"
        if not asked:
            raise UserError(f"{words}: evaluate a model of other texts on them.")
        warnings.warn(f"{words}: they are left out", FolioWarning, stacklevel=2)
    if not asked:
        raise UserError("there are no questions.")
    options = [option for question in asked for option in question.options]
    pairs = [encode(tokenizer, option) for option in options]
    most = model.config.block_size + 1  # the last token is predicted and not read
    n_long = sum(len(context) + len(continuation) > most for context, continuation in pairs)
    if n_long:
        warnings.warn(
            f"{n_long:,} of {len(pairs):,} options are longer than the {most - 1:,} tokens that the model reads: the "
            "beginning of their context is left out",
            FolioWarning,
            stacklevel=2,
        )
    found = score(model, [cut(*pair, most) for pair in pairs])
    scored = iter(
        Scored(logprob, len(option.continuation.strip()) or 1, is_likeliest)
        for option, (logprob, is_likeliest) in zip(options, found, strict=True)
    )
    return asked, [list(islice(scored, len(question.options))) for question in asked]


def unknown_characters(tokenizer: Tokenizer, question: Question) -> str:
    """Return the characters of a question that the tokenizer does not know."""
    texts = (text for option in question.options for text in (option.context, option.continuation))
    return "".join(tokenizer.drop_unknown(text)[1] for text in texts)


def encode(tokenizer: Tokenizer, option: Option) -> Pair:
    """Return context and continuation as ids: those of the whole text, cut where the context's own end.

    White space at the end of a context belongs to the continuation, since tokens begin with their space. Before an
    empty context there is the token that begins a text.
    """
    context = option.context.rstrip()
    continuation = option.context[len(context) :] + option.continuation
    if not context:
        return tokenizer.prompt(""), tokenizer.encode(continuation).tolist()
    ids = tokenizer.prompt(context)
    return ids, tokenizer.prompt(context + continuation)[len(ids) :]


def cut(context: Sequence[int], continuation: Sequence[int], most: int) -> Pair:
    """Return the last `most` ids of context and continuation, of which one at least is context."""
    continuation = continuation[-(most - 1) :]
    return context[len(context) + len(continuation) - most :] if len(context) + len(
        continuation
    ) > most else context, continuation


@torch.inference_mode()
def score(model: GPT, pairs: Sequence[Pair]) -> list[tuple[float, bool]]:
    """Return ln p of each continuation after its context, and whether each of its tokens is the likeliest.

    pairs: ids of context and continuation, together at most block_size + 1.
    """
    device = next(model.parameters()).device
    found: list[tuple[float, bool]] = [(0.0, True)] * len(pairs)
    with evaluating(model):
        for rows in batches(
            [len(context) + len(continuation) for context, continuation in pairs], model.config.vocab_size
        ):
            batch = Completions.from_pairs([pairs[row] for row in rows], pad_id=0).to(device)
            logits, targets, mask = model(batch.ids[:, :-1]), batch.ids[:, 1:], batch.mask[:, 1:]
            logprobs = (token_logprobs(logits, targets) * mask).sum(dim=1)  # (B)
            is_likeliest = ((logits.argmax(dim=-1) == targets) | (mask == 0)).all(dim=1)  # (B)
            for row, logprob, likeliest in zip(rows, logprobs.tolist(), is_likeliest.tolist(), strict=True):
                found[row] = logprob, likeliest
    return found


def batches(lengths: Sequence[int], vocab_size: int) -> Iterator[list[int]]:
    """Yield rows of like length, the longest first, of which a batch is small enough to be read at once."""
    order = sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True)
    while order:
        n_tokens = max(1, lengths[order[0]])
        n_rows = max(1, min(MOST_TOKENS, MOST_SCORES // vocab_size) // n_tokens)
        yield order[:n_rows]
        order = order[n_rows:]
