"""What a person is shown before and after training."""

from __future__ import annotations

from rich.console import Console

from folio.data.corpora import Corpus
from folio.files import read_lines
from folio.log import clock, size
from folio.model.architectures import architecture_of
from folio.report.reference import Reference
from folio.report.tables import evaluations, show_next, show_table
from folio.runs.directory import RunDirectory
from folio.runs.load import load_for_inference
from folio.runs.samples import write_text
from folio.runs.state import Training
from folio.runtime import describe, peak_memory

SCENE_TOKENS = 500


def show_choices(corpus: Corpus, training: Training, n_tokens: int, why: str, console: Console) -> None:
    """What is about to be trained, on what, and where. n_tokens: those of the text that is learned from."""
    model = training.plan.model
    grouped = "" if model.n_kv_head == model.n_head else f" ({model.n_kv_head} for keys and values)"
    dropout = f", dropout {model.dropout}" if model.dropout else ""
    lines = {
        "text": f"{corpus.name}, {len(corpus.text):,} characters, {len(set(corpus.text))} different: {corpus.origin}",
        "tokens": f"{training.tokenizer.vocab_size:,} different, {n_tokens:,} to learn from, "
        f"{len(corpus.split()[0].encode()) / n_tokens:.2f} bytes each",
        "machine": f"{describe(training.runtime.device)}; {training.runtime}",
        "model": f"{architecture_of(model).model_type}, {model.n_layer} layers, {model.n_embd} wide, heads {model.n_head} x {model.head_size}{grouped}, "
        f"context {model.block_size}{dropout}: {training.model.n_parameters / 1e6:.2f} M weights",
    }
    if why:
        lines["why"] = why
    show_table(lines, console)


def show_estimate(training: Training, n_tokens: int, seconds: float, console: Console) -> None:
    """How much training there will be, how long it all takes, and how much memory. n_tokens: as in `show_choices`."""
    plan = training.plan
    lines = {
        "training": f"{plan.steps:,} steps of {plan.micro_batch_size * plan.accumulation} x {plan.model.block_size} "
        f"{training.tokenizer.unit}s, the text {plan.total_tokens / n_tokens:.1f} times",
        "estimate": f"{clock(seconds)} and {size(peak_memory(training.runtime.device))}",
    }
    show_table(lines, console)
    console.print()


def show_result(run: RunDirectory, reference: Reference | None, console: Console) -> None:
    """Validation loss beside others', a verdict on the curve, where things are, a text, and what to do next."""
    info, records = run.read_info(), read_lines(run.metrics_file)
    evaluated = evaluations(run, "val_loss")
    best = min(evaluated, key=lambda record: record["val_loss"])
    model, tokenizer = load_for_inference(run.path)

    console.print()
    scene = write_text(model, tokenizer, info["config"]["prompt"], SCENE_TOKENS)
    console.print(scene.strip(), soft_wrap=True)
    console.print()
    lines = {
        "validation loss": f"{best['val_loss']:.4f} nats a {tokenizer.unit}, at step {best['step']:,}: "
        f"{best['val_bpb']:.4f} bits a byte, which compares tokenizers"
    }
    mismatch = reference.mismatch(info) if reference else None
    if mismatch:
        lines["verdict"] = f"none, for the recipe's measured runs had {mismatch}"
    elif reference:
        landmarks = [f"{loss} ({name})" for name, loss in reference.landmarks.items()]
        lines["elsewhere"] = ", ".join(landmarks)
        curve = [(record["step"] / info["plan"]["steps"], record["val_loss"]) for record in evaluated]
        lines["verdict"] = reference.verdict(curve)
    seconds = records[-1]["train_seconds"]
    speed = records[-1]["tokens"] / seconds
    lines["training"] = (
        f"{clock(seconds)}, {speed:,.0f} {tokenizer.unit}s/s, {size(info['peak_memory'])} at most"
    )
    lines["model"] = str(run.best)
    lines["curve"] = str(run.plot)
    show_table(lines, console)
    show_next(
        [f'folio sample {run.path} --prompt "..." --num 3', "folio pretrain --data a-text-of-yours.txt"],
        console,
    )
