"""Show the result of PPO and GRPO."""

from __future__ import annotations

from rich.console import Console

from folio.log import format_number
from folio.report.tables import evaluations, show_next, show_table, training_cost
from folio.runs.directory import RunDirectory

METRICS = {
    "val_reward": "reward",
    "val_gold": "gold reward",
    "val_kl": "KL (nats per answer)",
    "val_length": "tokens per answer",
    "val_stop_share": "share of answers that stop",
    "val_distinct_2": "distinct-2",
}


def show_result(run: RunDirectory, console: Console) -> None:
    """Print held-out metrics before and after training, and the next commands."""
    before, after = run.read_info()["before"], evaluations(run, "val_reward")[-1]
    metrics = {
        words: f"{format_number(before[name])} before, {format_number(after[name])} after"
        for name, words in METRICS.items()
        if name in after
    }
    console.print()
    show_table(
        {
            **metrics,
            "training": training_cost(run),
            "model": str(run.best),
            "curves": str(run.rl_plot),
        },
        console,
    )
    show_next([f"folio rl-report {run.path}", f"folio chat {run.path}"], console)
