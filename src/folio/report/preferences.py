"""Show the results of the stages that train on preferences."""

from __future__ import annotations

from rich.console import Console

from folio.report.listening import listening_lines
from folio.report.tables import kept_evaluation, show_next, show_table, training_cost
from folio.runs.directory import RunDirectory
from folio.runs.stages import next_commands


def show_reward_result(run: RunDirectory, console: Console) -> None:
    """Print a reward model's accuracy on held-out pairs, and the next commands."""
    info, best = run.read_info(), kept_evaluation(run)
    console.print()
    show_table(
        {
            "accuracy": f"{best['val_accuracy']:.1%} of held-out pairs, at step {best['step']:,}; "
            f"{info['before']['val_accuracy']:.1%} before",
            "margin": f"{best['val_margin']:.2f}, calibration error {best['val_calibration_error']:.1%}, "
            "both before scores are standardized",
            "training": training_cost(run),
            "reward model": str(run.best),
            "curve": str(run.plot),
        },
        console,
    )
    show_next(next_commands(run), console)


def show_dpo_result(run: RunDirectory, console: Console) -> None:
    """Print the accuracy of the implied reward on held-out pairs, and the next commands."""
    best = kept_evaluation(run)
    console.print()
    show_table(
        {
            "accuracy": f"{best['val_accuracy']:.1%} of held-out pairs, at step {best['step']:,}",
            **listening_lines(best, run.read_info()["before"]),
            "training": training_cost(run),
            "model": str(run.best),
            "curve": str(run.plot),
        },
        console,
    )
    show_next(next_commands(run), console)
