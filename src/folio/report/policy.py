"""Show the result of PPO and GRPO."""

from __future__ import annotations

from rich.console import Console

from folio.log import format_number
from folio.report.listening import listening_lines
from folio.report.tables import kept_evaluation, show_next, show_table, training_cost
from folio.runs.directory import RunDirectory
from folio.runs.stages import STAGES, next_commands


def show_result(run: RunDirectory, console: Console) -> None:
    """Print held-out metrics before and after training, and the next commands."""
    info, after = run.read_info(), kept_evaluation(run)
    before, summary = info["before"], STAGES[info["stage"]]
    metrics = {
        words: f"{format_number(before[name])} before, {format_number(after[name])} after"
        for name, words in {**summary.metrics, **summary.details}.items()
        if name in after
    }
    console.print()
    show_table(
        {
            **metrics,
            **listening_lines(after, before),
            "training": training_cost(run),
            "model": str(run.best),
            "curves": str(run.rl_plot),
        },
        console,
    )
    show_next(next_commands(run), console)
