"""Run every recipe in a folder, from pretraining to PPO, and compare the results of the stages."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import tyro
from rich.console import Console
from rich.text import Text

from folio.commands import COMMANDS
from folio.config import Positive, Settings, flatten, read_recipe, to_table
from folio.errors import UserError
from folio.log import format_duration, format_number, make_console
from folio.report.tables import kept_evaluation, show_next, show_table
from folio.runs.budget import Budget, clock
from folio.runs.directory import RunDirectory
from folio.runs.flags import read_config
from folio.runs.load import load_for_chat
from folio.runs.recipes import find_recipes, known_recipes
from folio.runs.samples import Answers
from folio.runs.stages import STAGES

END_SECONDS = 10.0
"""Reserved for comparing the models of all stages at the end."""


class Step(Protocol):
    """A command that `folio run` can run: a `Stage`, or one that creates data."""

    name: str
    config: type[Any]
    makes_assistant: bool

    def output(self, config: Any) -> Path: ...
    def main(self, arguments: Sequence[str]) -> None: ...


@dataclass(frozen=True, kw_only=True)
class ChainConfig(Settings):
    """Which recipes to run."""

    recipes: tyro.conf.Positional[Path] = Path("shakespeare")
    """A recipe by name, or a folder of your own: pretrain.toml, sft.toml, ..."""
    minutes: Positive | None = None
    """Time for all recipes together: each stage makes as many steps as fit into its share. `folio label` has no limit."""
    chat: bool = True
    """At the end, start a chat with the model if there is a terminal."""


def main(arguments: Sequence[str]) -> None:
    """Run `folio run [FOLDER]`."""
    config = read_config(ChainConfig, arguments, recipe=None, prog="folio run", description=__doc__)
    run_chain(config, make_console())


def run_chain(config: ChainConfig, console: Console) -> None:
    """Run the stages that are not finished, show the result of each, and start a chat."""
    folder = find_recipes(config.recipes)
    recipes = {name: folder / f"{name}.toml" for name in COMMANDS}
    recipes = {name: path for name, path in recipes.items() if os.path.exists(path)}
    if not recipes:
        raise UserError(f"{config.recipes} has no recipe. Known: {known_recipes('pretrain')}.")
    steps: dict[str, Step] = {name: import_module(COMMANDS[name][0]).STAGE for name in recipes}
    # All are read before the first begins: a mistake in the last one should not show after an hour.
    settings = {name: read_recipe(step.config, recipes[name]) for name, step in steps.items()}
    outputs = {name: step.output(settings[name]) for name, step in steps.items()}
    budget = Budget.of_minutes(config.minutes, len(steps))
    try:
        for number, (name, step) in enumerate(steps.items(), start=1):
            heading(f"{number} of {len(steps)}: {name}", console)
            flags = stage_flags(outputs[name], budget, len(steps) - number + 1) if name in STAGES else []
            with clock():
                step.main([str(recipes[name]), *flags])
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"Resume with `folio run {config.recipes}`: what is done is kept.") from None
    heading("Results", console)
    show_table({name: result(path) for name, path in outputs.items() if name in STAGES}, console)
    assistants = {name: outputs[name] for name, step in steps.items() if step.makes_assistant}
    if not assistants:
        return
    *_, last = assistants
    heading("The same questions to each", console)
    show_answers(assistants, flatten(to_table(settings[last]))["prompt"], console)
    if config.chat and sys.stdin.isatty() and sys.stdout.isatty():
        heading("Now you", console)
        import_module(COMMANDS["chat"][0]).main([str(outputs[last])])
    else:
        show_next([f"folio chat {outputs[last]}"], console)


def stage_flags(output: Path, budget: Budget, n_left: int) -> list[str]:
    """Return the flags that resume a stage's run, if there is one, and limit its time.

    n_left: the steps of the chain that are left, this one too, among which what is left of the budget is divided evenly:
    what a step does not need is for those after it.
    """
    flags = ["--resume"] if os.path.exists(output) else []
    if math.isinf(budget.seconds):
        return flags
    seconds = max(1.0, (budget.seconds - END_SECONDS - budget.spent) / n_left)
    return [*flags, "--minutes", f"{seconds / 60:.3f}"]


def heading(words: str, console: Console) -> None:
    """Print a line that separates sections."""
    console.print()
    console.rule(Text(words, style="bold"), align="left")


def result(path: Path) -> str:
    """Return the metrics of a finished run, before and after, and how long it took."""
    run = RunDirectory(path)
    info, kept = run.read_info(), kept_evaluation(run)
    before = info.get("before", {})
    shown = [
        f"{words} {format_number(before[name])} → {format_number(kept[name])}"
        if name in before
        else f"{words} {format_number(kept[name])}"
        for name, words in STAGES[info["stage"]].metrics.items()
        if name in kept
    ]
    return f"{', '.join(shown)}; {format_duration(run.read_metrics()[-1]['train_seconds'])}"


def show_answers(runs: Mapping[str, Path], questions: Sequence[str], console: Console) -> None:
    """Print the answers of each stage's model to the same questions."""
    answers = {}
    for name, path in runs.items():
        model, tokenizer = load_for_chat(path)
        samples = Answers(questions).samples(model, tokenizer)
        answers[name] = [text.split("\n", 1)[1].strip() for _, text in samples]
    for number, question in enumerate(questions):
        console.print(Text(f"\n> {question}", style="bold"))
        show_table({name: texts[number] for name, texts in answers.items()}, console)
