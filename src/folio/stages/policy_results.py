"""What came of a policy's training: rl.png, figures before and after, and what to do next."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from folio.errors import UserError
from folio.log import clock, figure, size
from folio.rl.history import History
from folio.rl.picture import draw_history
from folio.stages.show import show_table
from folio.stages.tuning import Prepared
from folio.train.run import RunDirectory, read_lines

SHOWN = {
    "val_reward": "reward",
    "val_gold": "gold reward",
    "val_kl": "KL (nats an answer)",
    "val_length": "tokens an answer",
    "val_stop_share": "share that stops",
    "val_distinct_2": "distinct-2",
}


def finish(run: RunDirectory, prepared: Prepared) -> None:
    """Draw rl.png."""
    draw_history(History.of(run), str(run.path), run.rl_plot)


def show_result(run: RunDirectory, console: Console) -> None:
    """Held-out figures before and after, and what to do next."""
    info, records = run.read_info(), read_lines(run.metrics_file)
    evaluated = [record for record in records if "val_reward" in record]
    if not evaluated:
        raise UserError(f"{run.metrics_file} is damaged: it holds no evaluation. The model is {run.best}.")
    before, after = info["before"], evaluated[-1]
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
    console.print()
    console.print(Text("Next", style="bold"))
    console.print(f"  folio rl-report {run.path}", soft_wrap=True)
    console.print(f"  folio chat {run.path}", soft_wrap=True)
