"""The plan and the result of pretraining in words."""

from __future__ import annotations

from typing import Protocol

from rich.console import Console

from folio.config import PACKAGED_RECIPES, flatten, from_table
from folio.log import format_count, format_duration, format_size
from folio.model.architectures import architecture_of
from folio.report.reference import Reference, reference_of, verdict_of
from folio.report.tables import kept_evaluation, show_next, show_table, training_cost
from folio.runs.directory import RunDirectory
from folio.runs.load import load_for_inference
from folio.runs.pace import RecipeTimes
from folio.runs.samples import continue_text
from folio.runs.stages import next_commands
from folio.runs.state import Training
from folio.runtime import describe, peak_memory
from folio.tokenizer.char import CharTokenizer
from folio.training.plan import Plan

MEASURED = PACKAGED_RECIPES / "shakespeare"
"""The recipe whose curve was measured for the least time to the whole."""
QUALITIES = {
    2.2: "letters where letters belong, and a few short words",
    1.8: "words, many of them invented, in lines like those of the text",
    0.0: "mostly real words in lines like those of the text, and little sense",
}
"""How samples read, by the least validation loss in nats per character."""
FINAL_SAMPLE = 5
"""Length of the sample at the end, as a multiple of those during training."""


class Described(Protocol):
    """What is told of a text. train_bytes: UTF-8 bytes of its training part."""

    @property
    def description(self) -> str: ...

    @property
    def train_bytes(self) -> int: ...


def choices(text: Described, training: Training, n_tokens: int, why: str) -> dict[str, str]:
    """Return text, machine and model in words. n_tokens: tokens of the training text. why: the reasons for the chosen sizes."""
    model = training.plan.model
    grouped = "" if model.n_kv_head == model.n_head else f" ({model.n_kv_head} for keys and values)"
    dropout = f", dropout {model.dropout}" if model.dropout else ""
    lines = {
        "text": text.description,
        "tokens": f"vocabulary of {training.tokenizer.vocab_size:,}, {len(training.tokenizer.special_ids)} of them special; "
        f"{n_tokens:,} for training, "
        f"{text.train_bytes / n_tokens:.2f} bytes each",
        "machine": f"{describe(training.runtime.device)}; {training.runtime}",
        "model": f"{architecture_of(model).model_type}, {model.n_layer} layers, width {model.n_embd}, "
        f"heads {model.n_head} x {model.head_size}{grouped}, context {model.block_size}{dropout}: "
        f"{training.model.n_parameters / 1e6:.2f} M parameters",
    }
    if why:
        lines["why"] = why
    return lines


def estimate(training: Training, n_tokens: int, step_seconds: float) -> dict[str, str]:
    """Return the amount of training, its estimated time and memory, and for characters the quality to expect.

    n_tokens: tokens of the training text.
    """
    plan = training.plan
    seconds = training.budget.duration(plan.steps, step_seconds)
    lines = {
        "training": f"{format_count(plan.steps, 'step')} of {plan.micro_batch_size * plan.accumulation} x {plan.model.block_size} "
        f"{training.tokenizer.unit}s, {plan.total_tokens / n_tokens:.1f} epochs",
        "estimate": f"{format_duration(seconds)} and {format_size(peak_memory(training.runtime.device))}",
    }
    if isinstance(training.tokenizer, CharTokenizer):
        lines["quality"] = quality_after(plan.total_tokens)
    return lines


def quality_after(n_characters: int) -> str:
    """Return what to expect of so much training, in words, from the measured runs of the recipe `shakespeare`."""
    times, reference = RecipeTimes.beside(MEASURED), Reference.beside(MEASURED / "pretrain.toml")
    if times is None or reference is None:
        return "not known"
    share = n_characters / from_table(Plan, reference.plan, str(MEASURED)).total_tokens
    loss = times.expected_loss(share)
    bound = "above" if share < times.least_share else "at most" if share > 1 else "near"
    is_hardly_any = share < times.least_share / 2  # the curve is steep there, and was not measured
    words = next(words for least, words in QUALITIES.items() if loss >= least or is_hardly_any)
    return (
        f"{words}; so much training on the plays of Shakespeare leads to a validation loss {bound} {loss:.2f}"
    )


def show_result(run: RunDirectory, console: Console) -> None:
    """Print a sample, the validation loss, a comparison with the recipe's reference, and the next commands."""
    info, records = run.read_info(), run.read_metrics()
    best = kept_evaluation(run)
    model, tokenizer = load_for_inference(run.path)
    settings = flatten(info["config"])
    console.print()
    n_tokens = FINAL_SAMPLE * settings.get("sample_tokens", 100)
    console.print(continue_text(model, tokenizer, settings["prompt"], n_tokens).strip(), soft_wrap=True)
    console.print()
    lines = {
        "validation loss": f"{best['val_loss']:.4f} nats per {tokenizer.unit}, at step {best['step']:,}; "
        f"{best['val_bpb']:.4f} bits per byte, comparable across tokenizers"
    }
    reference, verdict = reference_of(info), verdict_of(info, records)
    if reference and not reference.mismatch(info):
        landmarks = [f"{loss} ({name})" for name, loss in reference.landmarks.items()]
        lines["published"] = ", ".join(landmarks)
    if verdict:
        lines["verdict"] = verdict
    speed = records[-1]["tokens"] / records[-1]["train_seconds"]
    lines["training"] = f"{training_cost(run)}, {speed:,.0f} {tokenizer.unit}s/s"
    lines["model"] = str(run.best)
    lines["curve"] = str(run.plot)
    show_table(lines, console)
    show_next(next_commands(run), console)
