"""What has become of a run of ppo or grpo: its figures, what is wrong with it, samples, and a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from folio.config import read_config
from folio.errors import UserError
from folio.files import read_lines
from folio.log import make_console
from folio.report.figure import check_picture_path
from folio.report.overoptimization import Climb, climbs, draw_climbs
from folio.report.rl_diagnosis import TREND_ROLLOUTS, Finding, diagnose, over_optimisation
from folio.report.rl_figure import draw_history
from folio.report.rl_history import History, first
from folio.report.tables import show_table
from folio.runs.directory import RunDirectory

NONE = "-"
WIDE = 80
"""Columns for two samples side by side."""
STYLES = {"fault": "bold red", "warning": "bold yellow", "note": "bold"}
SHOWN = {
    "reward": ("reward", ".3f"),
    "gold": ("gold", ".3f"),
    "KL": ("kl", ".2f"),
    "entropy": ("entropy", ".2f"),
    "length": ("length", ".0f"),
    "stops": ("stop_share", ".0%"),
    "distinct-2": ("distinct_2", ".2f"),
}
"""Figures and how they are written."""
OVEROPTIMISATION = Path("overoptimisation.png")


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """What to report on."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Runs of ppo or grpo, finished or not. One is diagnosed; several are compared by how far they went from their
    reference, as in runs with different --kl-coef."""
    png: Path | None = None
    """Where the picture goes: by default rl.png in the run, or overoptimisation.png here for several runs."""

    def __post_init__(self) -> None:
        if not self.runs:
            raise UserError("name a run of ppo or grpo, as in folio rl-report runs/shakespeare-ppo.")
        if self.png is not None:
            check_picture_path(self.png)


def main(arguments: Sequence[str]) -> None:
    """`folio rl-report RUN [RUN ...] [flags]`."""
    config = read_config(ReportConfig, arguments, recipe=None, prog="folio rl-report", description=__doc__)
    runs = [RunDirectory(path) for path in config.runs]
    histories = [History.of(run) for run in runs]
    if len(runs) == 1:
        report(runs[0], histories[0], config.png or runs[0].rl_plot, make_console())
    else:
        names = [run.path.name for run in runs]
        compare(
            climbs(list(zip(names, histories, strict=True))), config.png or OVEROPTIMISATION, make_console()
        )


def report(run: RunDirectory, history: History, picture: Path, console: Console) -> None:
    """Figures, findings, samples, picture."""
    planned = history.setting("rollouts", math.nan)
    show_table(
        {
            "run": f"{run.path}: {history.stage}, {history.status}",
            "rollouts": f"{history.n_rollouts} of {planned:.0f}",
            "kl_coef": f"{history.setting('kl_coef', math.nan):g}",
            **figures(history),
        },
        console,
    )
    console.print()
    show_findings(diagnose(history), history, console)
    show_samples(read_lines(run.samples_file), console)
    draw_history(history, str(run.path), picture)
    console.print(f"picture  {picture}", soft_wrap=True)


def figures(history: History) -> dict[str, str]:
    """The mean of the run's first fifth and of its last; on held-out prompts, before the run and in its last evaluation."""
    ends = {
        name: (history.over_rollouts(key), history.held_out(key), form) for name, (key, form) in SHOWN.items()
    }
    lines = {}
    for name, (training, held_out, form) in ends.items():
        parts = [f"{training.early:{form}} to {training.late:{form}}"] if training else []
        parts += [f"held out {held_out.values[0]:{form}} to {held_out.values[-1]:{form}}"] if held_out else []
        if parts:
            lines[name] = ", ".join(parts)
    return lines


def show_findings(findings: Sequence[Finding], history: History, console: Console) -> None:
    """What is wrong, or that nothing is."""
    if history.n_rollouts < TREND_ROLLOUTS:
        console.print(f"Fewer than {TREND_ROLLOUTS} rollouts: too few to say where the run is going.\n")
    for finding in findings:
        console.print(
            Text.assemble((finding.severity, STYLES[finding.severity]), (f"  {finding.title}", "bold"))
        )
        for text in (finding.happened, finding.meaning, f"Do: {finding.advice}"):
            console.print(Padding(Text(text), (0, 0, 0, 2)))
        console.print()
    if not findings:
        console.print(Text(praise(history)))
        console.print()


def praise(history: History) -> str:
    """That all is well, with the figures that say so."""
    reward, kl, length = (history.over_rollouts(name) for name in ("reward", "kl", "length"))
    entropy, ratio = history.over_rollouts("entropy"), history.over_rollouts("ratio", first)
    gold = history.held_out("gold")
    told = [f"The reward went from {reward.early:.3f} to {reward.late:.3f}"] if reward else []
    if gold:
        told.append(f"the gold reward from {gold.values[0]:.3f} to {gold.values[-1]:.3f}")
    if entropy:
        told.append(f"the entropy from {entropy.early:.2f} to {entropy.late:.2f} nats a token")
    if kl and length:
        told.append(f"the KL is {kl.late:.1f} nats an answer, {kl.late / length.late:.2f} a token")
    if ratio:
        off = max(abs(value - 1) for value in ratio.values)
        told.append(f"on first passes the ratio is within {off:.1g} of 1")
    return f"Nothing is wrong that the figures could tell. {'; '.join(told)}."


def show_samples(samples: Sequence[object], console: Console) -> None:
    """What was answered to the fixed prompts at the first evaluation and at the last one."""
    answers: dict[int, dict[str, str]] = {}
    for each in samples:
        if isinstance(each, dict) and each.keys() >= {"step", "prompt", "text"}:
            answers.setdefault(each["step"], {})[each["prompt"]] = answer_of(str(each["text"]))
    shown = [step for step in answers if step in (min(answers), max(answers))]
    for prompt in answers[shown[0]] if shown else ():
        console.print(Text(f"> {prompt}", "bold"), soft_wrap=True)
        cells = [Text.assemble((f"step {step}\n", "dim"), answers[step].get(prompt, "")) for step in shown]
        table = Table.grid(padding=(0, 2), expand=True)
        for row in [cells] if console.width >= WIDE else [[cell] for cell in cells]:
            table.add_row(*row)
        for column in table.columns:
            column.ratio, column.overflow = 1, "fold"
        console.print(table)
        console.print()


def answer_of(text: str) -> str:
    """A sample without the line that repeats the question."""
    question, line_end, answer = text.partition("\n")
    return answer.strip() if question.startswith("> ") and line_end else text.strip()


def compare(runs: Sequence[Climb], picture: Path, console: Console) -> None:
    """A table with a column for each run, and the picture."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    for _ in runs:
        table.add_column(justify="right", overflow="fold")
    columns = [columns_of(run) for run in runs]
    for name in columns[0]:
        table.add_row(name, *(Text(column[name]) for column in columns))
    console.print(table)
    console.print(
        "\nReward and gold: gained since the start, in standard deviations of its answers.", style="dim"
    )
    draw_climbs(runs, picture)
    console.print(f"picture  {picture}", soft_wrap=True)


def columns_of(run: Climb) -> dict[str, str]:
    """What there is to say of a run among others."""
    highest = run.highest("val_gold")
    reward, gold = run.gains["val_reward"], run.gains["val_gold"]
    return {
        "": run.label,
        "rollouts": str(run.history.n_rollouts),
        "KL": f"{run.kl[-1]:.1f}",
        "reward": f"{reward[-1]:+.2f}",
        "gold": NONE if highest is None else f"{gold[-1]:+.2f}",
        "best gold": NONE if highest is None else f"{gold[highest]:+.2f}",
        "at rollout": NONE if highest is None else str(run.rollouts[highest]),
        "at KL": NONE if highest is None else f"{run.kl[highest]:.1f}",
        "overdone": "yes" if over_optimisation(run.history) else "no",
    }
