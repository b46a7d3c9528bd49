"""Diagnose a PPO or GRPO run: metrics, findings, samples and a figure. Several runs are compared."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from folio.config import Settings
from folio.errors import UserError
from folio.files import read_lines
from folio.log import make_console
from folio.report.figure import check_picture_path
from folio.report.overoptimization import RewardCurve, draw_reward_curves, reward_curves
from folio.report.rl_diagnosis import TREND_ROLLOUTS, Finding, diagnose, overoptimization
from folio.report.rl_figure import draw_history
from folio.report.rl_history import History
from folio.report.rl_summary import answer_of, is_sample, main_metrics, metrics_table
from folio.report.side_by_side import show_side_by_side
from folio.report.tables import show_table
from folio.runs.directory import RunDirectory
from folio.runs.flags import read_config

NONE = "-"
STYLES = {"fault": "bold red", "warning": "bold yellow", "note": "bold"}
COMPARISON_FIGURE = Path("overoptimization.png")


@dataclass(frozen=True, kw_only=True)
class ReportConfig(Settings):
    """Settings of `folio rl-report`."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """PPO or GRPO runs, finished or not; several, as with different --kl-coef, are compared."""
    png: Path | None = None
    """File for the figure; by default rl.png in the run, or ./overoptimization.png for several runs."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.runs:
            raise UserError("name a run of ppo or grpo, as in `folio rl-report runs/shakespeare-grpo`.")
        if self.png is not None:
            check_picture_path(self.png)


def main(arguments: Sequence[str]) -> None:
    """Run `folio rl-report RUN [RUN ...] [flags]`."""
    config = read_config(ReportConfig, arguments, recipe=None, prog="folio rl-report", description=__doc__)
    runs = [RunDirectory(path) for path in config.runs]
    histories = [History.from_run(run) for run in runs]
    if len(runs) == 1:
        report(runs[0], histories[0], config.png or runs[0].rl_plot, make_console())
    else:
        names = [run.path.name for run in runs]
        curves = reward_curves(list(zip(names, histories, strict=True)))
        show_comparison(curves, config.png or COMPARISON_FIGURE, make_console())


def report(run: RunDirectory, history: History, figure: Path, console: Console) -> None:
    """Print metrics, findings and samples of a run, and draw its figure."""
    planned = history.setting("rollouts", math.nan)
    show_table(
        {
            "run": f"{run.path}: {history.stage}, {history.status}",
            "rollouts": f"{history.n_rollouts} of {planned:.0f}",
            "kl_coef": f"{history.setting('kl_coef', math.nan):g}",
            **metrics_table(history),
        },
        console,
    )
    console.print()
    show_findings(diagnose(history), history, console)
    show_samples(read_lines(run.samples_file, is_sample), console)
    draw_history(history, str(run.path), figure)
    console.print(f"figure  {figure}", soft_wrap=True)


def show_findings(findings: Sequence[Finding], history: History, console: Console) -> None:
    """Print the findings, or that there are none."""
    if history.n_rollouts < TREND_ROLLOUTS:
        console.print(f"Fewer than {TREND_ROLLOUTS} rollouts: too few to see a trend.\n")
    for finding in findings:
        console.print(
            Text.assemble((finding.severity, STYLES[finding.severity]), (f"  {finding.title}", "bold"))
        )
        for text in (finding.observed, finding.cause, f"Do: {finding.advice}"):
            console.print(Padding(Text(text), (0, 0, 0, 2)))
        console.print()
    if not findings:
        verdict = "No problems found in the metrics. " if history.n_rollouts >= TREND_ROLLOUTS else ""
        console.print(Text(verdict + main_metrics(history)))
        console.print()


def show_samples(samples: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Print the answers to the fixed prompts at the first and the last evaluation."""
    answers: dict[int, dict[str, str]] = {}
    for each in samples:
        answers.setdefault(each["step"], {})[each["prompt"]] = answer_of(each["text"])
    shown = [step for step in answers if step in (min(answers), max(answers))]
    for prompt in answers[shown[0]] if shown else ():
        console.print(Text(f"> {prompt}", "bold"), soft_wrap=True)
        cells = [Text.assemble((f"step {step}\n", "dim"), answers[step].get(prompt, "")) for step in shown]
        show_side_by_side(cells, console)
        console.print()


def show_comparison(curves: Sequence[RewardCurve], figure: Path, console: Console) -> None:
    """Print a table with a column for each run, and draw the runs over their KL."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    for _ in curves:
        table.add_column(justify="right", overflow="fold")
    columns = [comparison_column(curve) for curve in curves]
    for name in columns[0]:
        table.add_row(name, *(Text(column[name]) for column in columns))
    console.print(table)
    console.print(
        "\nReward and gold: gain since the start, in standard deviations of its answers.", style="dim"
    )
    draw_reward_curves(curves, figure)
    console.print(f"figure  {figure}", soft_wrap=True)


def comparison_column(curve: RewardCurve) -> dict[str, str]:
    """Return a run's column of the comparison."""
    highest = curve.highest("val_gold")
    reward, gold = curve.gains["val_reward"], curve.gains["val_gold"]
    return {
        "": curve.label,
        "rollouts": str(curve.history.n_rollouts),
        "KL": f"{curve.kl[-1]:.1f}",
        "reward": f"{reward[-1]:+.2f}",
        "gold": NONE if highest is None else f"{gold[-1]:+.2f}",
        "best gold": NONE if highest is None else f"{gold[highest]:+.2f}",
        "at rollout": NONE if highest is None else str(curve.rollouts[highest]),
        "at KL": NONE if highest is None else f"{curve.kl[highest]:.1f}",
        "overoptimized": "yes" if overoptimization(curve.history) else "no",
    }
