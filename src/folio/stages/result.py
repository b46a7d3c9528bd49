"""What a person is shown when a run is over."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from folio.log import clock, size
from folio.stages.models import load_for_inference
from folio.stages.training import write_text
from folio.train.reference import Reference
from folio.train.run import RunDirectory, read_lines

SCENE_TOKENS = 500


def show_result(run: RunDirectory, reference: Reference | None, console: Console) -> None:
    """Validation loss beside others', a verdict on the curve, where things are, a text, and what to do next."""
    info, records = run.read_info(), read_lines(run.metrics_file)
    evaluated = [record for record in records if "val_loss" in record]
    best = min(evaluated, key=lambda record: record["val_loss"])
    model, tokenizer = load_for_inference(run.path)

    console.print()
    console.print(
        write_text(model, tokenizer, info["config"]["prompt"], SCENE_TOKENS).strip(), soft_wrap=True
    )
    console.print()
    lines = {"validation loss": f"{best['val_loss']:.4f} nats a character, at step {best['step']:,}"}
    if reference is not None:
        landmarks = [f"{loss} ({name})" for name, loss in reference.landmarks.items()]
        lines["elsewhere"] = ", ".join(landmarks)
        curve = [(record["step"] / info["plan"]["steps"], record["val_loss"]) for record in evaluated]
        lines["verdict"] = reference.verdict(curve)
    seconds = records[-1]["train_seconds"]
    speed = records[-1]["tokens"] / seconds
    lines["training"] = f"{clock(seconds)}, {speed:,.0f} characters/s, {size(info['peak_memory'])} at most"
    lines["model"] = str(run.best)
    lines["curve"] = str(run.plot)
    show_table(lines, console)
    console.print()
    console.print(Text("Next", style="bold"))
    console.print(f'  folio sample {run.path} --prompt "..." --num 3', soft_wrap=True)
    console.print("  folio pretrain --data a-text-of-yours.txt", soft_wrap=True)


def show_table(lines: dict[str, str], console: Console) -> None:
    """Names and what belongs to them, in two columns, or one below the other where the console is narrow."""
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in lines.items():
        table.add_row(name, Text(text))
    console.print(table)
