"""What came of a policy's training: rl.png, figures before and after, and what to do next."""

from __future__ import annotations

from rich.console import Console

from folio.files import read_lines
from folio.log import clock, figure, size
from folio.report.tables import evaluations, show_next, show_table
from folio.runs.directory import RunDirectory

SHOWN = {
    "val_reward": "reward",
    "val_gold": "gold reward",
    "val_kl": "KL (nats an answer)",
    "val_length": "tokens an answer",
    "val_stop_share": "share that stops",
    "val_distinct_2": "distinct-2",
}


def show_result(run: RunDirectory, console: Console) -> None:
    """Held-out figures before and after, and what to do next."""
    info, records = run.read_info(), read_lines(run.metrics_file)
    before, after = info["before"], evaluations(run, "val_reward")[-1]
    figures = {
        shown: f"{figure(before[name])} before, {figure(after[name])} after"
        for name, shown in SHOWN.items()
        if name in after
    }
    console.print()
    show_table(
        {
            **figures,
            "training": f"{clock(records[-1]['train_seconds'])}, {size(info['peak_memory'])} at most",
            "model": str(run.best),
            "curves": str(run.rl_plot),
        },
        console,
    )
    show_next([f"folio rl-report {run.path}", f"folio chat {run.path}"], console)
