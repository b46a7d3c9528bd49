"""Show the result of fine-tuning."""

from __future__ import annotations

from rich.console import Console

from folio.report.listening import listening_lines
from folio.report.tables import kept_evaluation, show_next, show_table, training_cost
from folio.runs.directory import RunDirectory
from folio.runs.stages import next_commands
from folio.tokenizer.directory import load_tokenizer


def show_result(run: RunDirectory, console: Console) -> None:
    """Print the validation loss before and after training, and the next commands."""
    info, best = run.read_info(), kept_evaluation(run)
    unit = load_tokenizer(run.best).unit
    console.print()
    show_table(
        {
            "validation loss": f"{best['val_loss']:.4f} nats per {unit} of the answers, at step {best['step']:,}; "
            f"{info['before']['val_loss']:.4f} before",
            **listening_lines(best, info["before"]),
            "training": training_cost(run),
            "model": str(run.best),
            "curve": str(run.plot),
        },
        console,
    )
    show_next(next_commands(run), console)
