"""The whole way, from a text to an assistant: every stage that a folder of recipes has, one after another."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console
from rich.text import Text

from folio.commands import chat
from folio.config import read_config, read_recipe
from folio.errors import UserError
from folio.files import read_lines
from folio.log import clock, figure, make_console
from folio.report.tables import show_next, show_table
from folio.runs.directory import RunDirectory
from folio.runs.load import load_for_chat
from folio.runs.recipes import find_recipes, known_recipes
from folio.runs.samples import Answers
from folio.stages.pretrain import default_run

TALKERS = ("sft", "dpo", "ppo", "grpo")
"""Those that make a model which answers."""
FIGURES = {
    "pretrain": {"val_loss": "validation loss"},
    "sft": {"val_loss": "loss of held-out answers"},
    "reward": {"val_accuracy": "right about held-out pairs"},
    "dpo": {"val_accuracy": "right about held-out pairs"},
    "ppo": {"val_reward": "reward", "val_gold": "gold reward", "val_kl": "KL"},
    "grpo": {"val_reward": "reward", "val_gold": "gold reward"},
}
"""What tells how a stage went, by its name in metrics.jsonl."""
CONFIGS = {
    "pretrain": "PretrainConfig",
    "sft": "SFTConfig",
    "label": "LabelConfig",
    "reward": "RewardConfig",
    "dpo": "DPOConfig",
    "ppo": "PPOConfig",
    "grpo": "GRPOConfig",
}
"""The stages, in the order in which each needs what the ones before have made, and the names of their settings."""
STAGES = tuple(CONFIGS)


@dataclass(frozen=True, kw_only=True)
class ChainConfig:
    """Which way to go."""

    recipes: tyro.conf.Positional[Path] = Path("shakespeare")
    """A recipe by name, or a folder of your own: pretrain.toml, sft.toml, ..."""
    chat: bool = True
    """At the end, talk with what was made, where there is a terminal."""


def main(arguments: Sequence[str]) -> None:
    """`folio run [FOLDER]`."""
    config = read_config(ChainConfig, arguments, recipe=None, prog="folio run", description=__doc__)
    run_chain(config, make_console())


def run_chain(config: ChainConfig, console: Console) -> None:
    """Carry out what is not done yet, tell what each stage brought, and begin to talk."""
    folder = find_recipes(config.recipes)
    stages = [stage for stage in STAGES if os.path.exists(folder / f"{stage}.toml")]
    if not stages:
        raise UserError(f"{config.recipes} has no recipe. There is {known_recipes('pretrain')}.")
    # All are read before the first begins: a slip in the last one should not show after an hour.
    settings = {stage: read_recipe(config_of(stage), folder / f"{stage}.toml") for stage in stages}
    made = {stage: made_by(stage, config.recipes, each) for stage, each in settings.items()}
    try:
        for number, stage in enumerate(stages, start=1):
            heading(f"{number} of {len(stages)}: {stage}", console)
            import_module(f"folio.stages.{stage}").main([str(folder / f"{stage}.toml"), "--resume"])
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"What is done is kept: go on with `folio run {config.recipes}`.") from None
    heading("What each stage brought", console)
    show_table({stage: told for stage, path in made.items() if (told := outcome(stage, path))}, console)
    talkers = {stage: path for stage, path in made.items() if stage in TALKERS}
    if not talkers:
        return
    *_, last = talkers
    asked = settings[last].prompt
    heading("The same questions to each", console)
    show_answers(talkers, (asked,) if isinstance(asked, str) else asked, console)
    if config.chat and sys.stdin.isatty() and sys.stdout.isatty():
        heading("Now you", console)
        chat.main([str(made[last])])
    else:
        show_next([f"folio chat {made[last]}"], console)


def heading(words: str, console: Console) -> None:
    """A line that sets apart what comes."""
    console.print()
    console.rule(Text(words, style="bold"), align="left")


def config_of(stage: str) -> type[Any]:
    """The class of a stage's settings."""
    cls: type[Any] = getattr(import_module(f"folio.stages.{stage}"), CONFIGS[stage])
    return cls


def made_by(stage: str, recipes: Path, settings: Any) -> Path:
    """Where a stage puts what it makes. Raises UserError where its recipe does not say."""
    place: Path | None = settings.out if stage == "label" else settings.run
    if place is None and stage == "pretrain":
        return default_run(settings.data)
    if place is None:
        raise UserError(
            f'{recipes / stage}.toml must say where its run goes, as in run = "runs/name": others go on from there.'
        )
    return place


def outcome(stage: str, path: Path) -> str:
    """What a stage brought, in figures: before, after, and how long it took."""
    if stage not in FIGURES:
        return ""
    run = RunDirectory(path)
    info, records = run.read_info(), read_lines(run.metrics_file)
    evaluated = [record for record in records if any(name in record for name in FIGURES[stage])]
    if not evaluated:
        raise UserError(f"{run.metrics_file} is damaged: it holds no evaluation.")
    # Where there is a validation loss, the model with the lowest is kept; else the newest.
    kept = min(evaluated, key=lambda record: record.get("val_loss", -record["step"]))
    before = info.get("before", {})
    told = [
        f"{words} {figure(before[name])} → {figure(kept[name])}"
        if name in before
        else f"{words} {figure(kept[name])}"
        for name, words in FIGURES[stage].items()
        if name in kept
    ]
    return f"{', '.join(told)}; {clock(records[-1]['train_seconds'])}"


def show_answers(runs: dict[str, Path], questions: Sequence[str], console: Console) -> None:
    """What the model of each stage says to the same questions."""
    answers = {}
    for stage, path in runs.items():
        model, tokenizer = load_for_chat(path)
        answers[stage] = [text.split("\n", 1)[1] for _, text in Answers(questions).write(model, tokenizer)]
    for number, question in enumerate(questions):
        console.print(Text(f"\n> {question}", style="bold"))
        show_table({stage: said[number].strip() for stage, said in answers.items()}, console)
