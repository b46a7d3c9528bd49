"""The answers to quiz questions about the learner's own run, computed from its files."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path

from folio.errors import UserError
from folio.lecture.quiz import AboutRun, Chosen, Computed, Question
from folio.report.quiz_run import FinishedRun, find_stage

LAST_SHARE = 0.05
"""Share of the steps, at the end of a run, over which the training loss is averaged: single steps are noisy."""
MLP, TABLES, NORMS = (".mlp.",), ("embed_tokens.", "lm_head.", "wte."), ("norm.", "ln_1.", "ln_2.", "ln_f.")
"""Parts of parameter names in Hugging Face's formats: feed-forward layers, tables of tokens, norms."""


def first_loss(run: FinishedRun) -> Computed:
    """Compute the loss of the first step."""
    V = run.size("vocab_size")
    return Computed(
        float(run.records[0]["loss"]),
        f"Your vocabulary has {V:,} tokens, special ones included, and ln {V:,} is {math.log(V):.3f}.",
    )


def equal_choices(run: FinishedRun) -> Computed:
    """Compute e to the lowest validation loss, the perplexity."""
    loss = float(run.best["val_loss"])
    return Computed(
        math.exp(loss), f"Your lowest validation loss is {loss:.3f}, and e to that is the answer."
    )


def packed_bytes(run: FinishedRun) -> Computed:
    """Compute the bytes for which 1,000 bytes of validation text could be stored: bits per byte, times 1,000 / 8."""
    bits = float(run.best["val_bpb"])
    return Computed(
        1000 * bits / 8,
        f"Your model needs {bits:.3f} bits for a byte; a thousand take {bits:.3f} · 1,000 / 8 bytes.",
    )


def position_table(run: FinishedRun) -> Computed:
    """Compute the parameters of a table of positions at the model's sizes."""
    T, C = run.size("block_size"), run.size("n_embd")
    return Computed(T * C, f"{T:,} positions times {C:,} numbers.")


def masked_share(run: FinishedRun) -> Computed:
    """Compute the percentage of a square of T by T scores that lies above its diagonal."""
    T = run.size("block_size")
    return Computed(
        100 * (T - 1) / (2 * T),
        f"Of {T:,} · {T:,} scores, {T * (T - 1) // 2:,} lie above the diagonal.",
    )


def largest_average_weight(run: FinishedRun) -> Computed:
    """Compute the percentage that each position has in a plain average over the whole context."""
    T = run.size("block_size")
    return Computed(100 / T, f"Your context has {T:,} positions, and each gets 1 / {T:,}.")


def score_divisor(run: FinishedRun) -> Computed:
    """Compute the square root of the head size."""
    D = run.size("head_size")
    return Computed(math.sqrt(D), f"Your heads are {D} wide, and the divisor is the root of {D}.")


def n_heads(run: FinishedRun) -> Computed:
    """Compute the number of heads in all layers."""
    H, L = run.size("n_head"), run.size("n_layer")
    return Computed(H * L, f"{H} heads in each of {L} layers.")


def n_hidden(run: FinishedRun) -> Computed:
    """Compute the numbers inside all feed-forward layers at one position."""
    inside, L = run.size("mlp_size"), run.size("n_layer")
    return Computed(inside * L, f"{inside:,} in each of {L} layers.")


def n_additions(run: FinishedRun) -> Computed:
    """Compute how often something is added to the residual stream at one position."""
    L = run.size("n_layer")
    return Computed(2 * L, f"Your model has {L} layers, and each adds twice.")


def norm_share(run: FinishedRun) -> Computed:
    """Compute the percentage of parameters in norms."""
    n, total = run.parameters_in(NORMS), run.n_parameters
    return Computed(100 * n / total, f"{n:,} of {total:,} parameters are in norms.")


def loss_gap(run: FinishedRun) -> Computed:
    """Compute how far the last validation loss is above the training loss of the last steps."""
    count = max(1, round(LAST_SHARE * len(run.records)))
    training = sum(float(record["loss"]) for record in run.records[-count:]) / count
    validation = float(run.evaluations[-1]["val_loss"])
    return Computed(
        validation - training,
        f"The last validation loss is {validation:.3f}, and the training loss, over the last {count} "
        f"step{'s' if count > 1 else ''}, {training:.3f}.",
    )


def thousand_parameters(run: FinishedRun) -> Computed:
    """Compute the number of parameters, in thousands."""
    return Computed(run.n_parameters / 1000, f"Your model has {run.n_parameters:,} parameters.")


def table_share(run: FinishedRun) -> Computed:
    """Compute the percentage of parameters in the tables that read tokens and write scores."""
    n, total = run.parameters_in(TABLES), run.n_parameters
    return Computed(100 * n / total, f"{n:,} of {total:,} parameters are in them.")


def slowest_turn(run: FinishedRun) -> Computed:
    """Compute by how many degrees the slowest rotary pair turns from the first to the last position of the context."""
    T, D = run.size("block_size"), run.size("head_size")
    base = run.model_number("rope_theta")
    speed = base ** -((D - 2) / D)
    return Computed(
        math.degrees((T - 1) * speed),
        f"The slowest of {D // 2} pairs turns by {speed:.3g} radians a position, and makes {T - 1:,} such turns.",
    )


def largest_score(run: FinishedRun) -> Computed:
    """Compute the largest score of normalized queries and keys, whose gains are 1."""
    D = run.size("head_size")
    return Computed(
        math.sqrt(D),
        f"Your heads are {D} wide: two vectors of length √{D} have a product of at most {D}, and {D} / √{D} is √{D}.",
    )


def feed_forward_share(run: FinishedRun) -> Computed:
    """Compute the percentage of parameters in feed-forward layers."""
    n, total = run.parameters_in(MLP), run.n_parameters
    return Computed(100 * n / total, f"{n:,} of {total:,} parameters are in feed-forward layers.")


def decay_start(run: FinishedRun) -> Computed:
    """Compute the step after which the learning rate falls."""
    share = run.setting("decay_fraction")
    return Computed(
        round((1 - share) * run.steps),
        f"It falls over the last {share:.0%} of your {run.steps:,} steps (decay_fraction in run.json).",
    )


def best_step(run: FinishedRun) -> Computed:
    """Compute the step with the lowest validation loss."""
    best, last = run.best, run.evaluations[-1]
    place = "at the last evaluation" if best["step"] == last["step"] else "before the last evaluation"
    return Computed(
        float(best["step"]), f"Your lowest validation loss, {best['val_loss']:.3f}, came {place}."
    )


def thousand_tokens(run: FinishedRun) -> Computed:
    """Compute how many tokens the run was trained on, in thousands, with repetitions."""
    tokens, steps = int(run.records[-1]["tokens"]), int(run.records[-1]["step"])
    return Computed(tokens / 1000, f"{steps:,} steps of {tokens // steps:,} tokens are {tokens:,}.")


Formula = Callable[[FinishedRun], Computed | Chosen]

FORMULAS: Mapping[str, Formula] = {
    formula.__name__: formula
    for formula in (
        *(first_loss, equal_choices, packed_bytes, position_table, masked_share, largest_average_weight),
        *(score_divisor, n_heads, n_hidden, n_additions, norm_share, loss_gap, thousand_parameters),
        *(table_share, slowest_turn, largest_score, feed_forward_share, decay_start, best_step),
        thousand_tokens,
    )
}
"""Formulas about the files of a pretraining run."""


def all_formulas() -> dict[str, Formula]:
    """Return what a quiz may name as `computed`: a quiz holds names only, and no code."""
    from folio.report import quiz_chat, quiz_model  # they need torch, which takes seconds to import

    return {**FORMULAS, **quiz_model.FORMULAS, **quiz_chat.FORMULAS}


def answer_from(run: Path, question: Question, formula: str) -> Computed | Chosen:
    """Return the answer to a question about a run or, where it is about another stage, the one that `folio run` makes beside it.

    Raises UserError if there is no such run, or it lacks what is asked.
    """
    stage = question.stage if isinstance(question, AboutRun) else "pretrain"
    return answer_for(find_stage(run, stage), formula)


def answer_for(run: FinishedRun, name: str) -> Computed | Chosen:
    """Return the answer that a formula gives for a run. Raises UserError for an unknown formula, or where data lack."""
    formulas = FORMULAS if name in FORMULAS else all_formulas()
    if name not in formulas:
        raise UserError(f"a quiz names an unknown formula, {name}. Known: {', '.join(formulas)}.")
    return formulas[name](run)
