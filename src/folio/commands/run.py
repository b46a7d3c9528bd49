"""Run all stages, from a text or a folder of recipes to an assistant, and compare their results."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, Protocol

import tyro
from rich.console import Console
from rich.text import Text

from folio.commands import COMMANDS
from folio.config import PACKAGED_RECIPES, Positive, Settings, flatten, to_table
from folio.data.corpora import find_data
from folio.data.known import REQUESTS, find_prompts
from folio.data.preferences import TRAIN_FILE, VALIDATION_FILE
from folio.data.prompts import sample_questions
from folio.errors import UserError
from folio.log import format_duration, format_number, make_console
from folio.report.tables import kept_evaluation, show_next, show_table
from folio.runs.budget import clock
from folio.runs.default_data import data_for
from folio.runs.directory import RunDirectory
from folio.runs.flags import read_config
from folio.runs.load import load_for_chat
from folio.runs.pace import RecipeTimes
from folio.runs.recipes import find_recipes, known_recipes
from folio.runs.rewards import LIKELIHOOD
from folio.runs.samples import Answers
from folio.runs.shares import Shares, plan_time
from folio.runs.stages import STAGES
from folio.stages.stage import Stage
from folio.terminal import has_display

LOCAL = "127.0.0.1"
TEXT_RECIPES = PACKAGED_RECIPES / "text"
"""The recipes for any text."""
JUDGE = "text/judge.py:score"
LIKELIHOOD_WEIGHT = 0.3
"""Of a nat a character that the base finds an answer likelier, in the judge of answers made from any text."""


class Step(Protocol):
    """A command that `folio run` can run: a `Stage`, or one that creates data."""

    name: str
    config: type[Any]
    makes_assistant: bool

    def output(self, config: Any) -> Path: ...
    def is_made(self, config: Any) -> bool: ...
    def main(self, arguments: Sequence[str]) -> None: ...


@dataclass(frozen=True, kw_only=True)
class ChainConfig(Settings):
    """Which recipes to run."""

    recipes: tyro.conf.Positional[Path] = Path("shakespeare")
    """A text, a recipe by name, or a folder of recipes of your own: pretrain.toml, sft.toml, ..."""
    minutes: Positive | None = None
    """Time for all recipes together: each makes as many steps, or preferences, as fit into its share."""
    runs: Path = Path("runs")
    """Folder for the runs of a text. Recipes say themselves where theirs go."""
    plan: Literal["off", "show", "json"] = "off"
    """Say what would be done, in words or as JSON, and do nothing."""
    serve: bool = False
    """Meanwhile serve the runs: a page to watch them on and to talk to what there is, opened where there is a display."""
    chat: bool = True
    """At the end, start a chat with the model if there is a terminal."""


def main(arguments: Sequence[str]) -> None:
    """Run `folio run [TEXT | FOLDER]`."""
    config = read_config(ChainConfig, arguments, recipe=None, prog="folio run", description=__doc__)
    console = make_console()
    if config.plan != "off":
        show_plan(config, console)
        return
    with served(config.runs, console) if config.serve else nullcontext():
        run_chain(config, console)


@contextmanager
def served(runs: Path, console: Console) -> Iterator[None]:
    """Serve a folder of runs in a process of its own, and open the page where there is a display."""
    from folio.server.process import bind  # with the libraries of the server, which not every run needs

    with bind(LOCAL, None) as free:
        port = free.getsockname()[1]
    runs.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "folio", "serve", str(runs), "--port", str(port)]
    command += ["--open"] if has_display() else []
    # Ctrl-C, which stops an answer in the chat, is not for the server; what ends this process ends both.
    null = subprocess.DEVNULL
    process = subprocess.Popen(command, process_group=0, stdin=null, stdout=null, stderr=null)
    before = {number: signal.signal(number, leave) for number in ENDS}
    show_table({"page": f"http://{LOCAL}:{port} shows the runs, and talks with what there is"}, console)
    try:
        yield
    finally:
        process.terminate()
        process.wait()
        for number, handler in before.items():
            signal.signal(number, handler)


ENDS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
"""Signals that end a process: the latter comes where a terminal is closed."""


def leave(number: int, frame: object) -> None:
    """End this process, and on the way what it has started."""
    raise SystemExit(128 + number)


def run_chain(config: ChainConfig, console: Console) -> None:
    """Run the stages that are not finished, show the result of each, and start a chat."""
    folder, links = find_links(config.recipes, config.runs)
    left = [link.name for link in links if not link.step.is_made(link.settings)]
    shares, told = plan_time(RecipeTimes.beside(folder), left, config.minutes)
    if left:
        show_table(told, console)
    try:
        for number, link in enumerate(links, start=1):
            heading(f"{number} of {len(links)}: {link.name}", console)
            resume = ["--resume"] if link.name in STAGES and os.path.exists(link.output) else []
            with clock():
                link.step.main([*link.arguments, *resume, *shares.flags(link.name)])
    except KeyboardInterrupt:
        limit = "" if config.minutes is None else f" --minutes {config.minutes:g}"
        raise KeyboardInterrupt(
            f"Resume with `folio run {config.recipes}{limit}`: what is done is kept."
        ) from None
    heading("Results", console)
    show_table({link.name: result(link.output) for link in links if link.name in STAGES}, console)
    if assistants := [link for link in links if link.step.makes_assistant]:
        present(assistants, console, may_chat=config.chat)


def show_plan(config: ChainConfig, console: Console) -> None:
    """Print the stages, which of them are made, and what is known before the first step of those that are left."""
    folder, links = find_links(config.recipes, config.runs)
    left = [link for link in links if not link.step.is_made(link.settings)]
    shares, expected = plan_time(RecipeTimes.beside(folder), [link.name for link in left], config.minutes)
    told: dict[str, str] = {}
    if left and isinstance(left[0].step, Stage) and left[0] is links[0]:  # the others need what it makes
        told |= left[0].step.plan(for_plan(left[0], shares), Console(stderr=True))
        if "too short" in told and not math.isinf(
            shares.limit
        ):  # its flag would say what this stage needs, not all
            told["too short"] = f"{told['too short'].partition(':')[0]}: give all of them more minutes"
    if left:
        told |= expected
    if config.plan == "show":
        made = [link.name for link in links if link not in left]
        show_table({"stages": ", ".join(link.name for link in links), **told}, console)
        if made:
            show_table({"made": ", ".join(made)}, console)
        return
    stages = [{"name": link.name, "output": str(link.output), "is_made": link not in left} for link in links]
    print(json.dumps({"stages": stages, "told": told}))


def for_plan(link: Link, shares: Shares) -> Any:
    """Return the settings of the first stage with its share of the time, not compiled: that takes longer than a plan should."""
    settings = replace(link.settings, runtime=replace(link.settings.runtime, compile="off"))
    if math.isinf(shares.limit):
        return settings
    return replace(settings, output=replace(settings.output, minutes=shares.seconds(link.name) / 60))


@dataclass(frozen=True)
class Link:
    """A step of a chain, with its arguments on the command line, its settings, and what it makes."""

    name: str
    step: Step
    arguments: Sequence[str]
    settings: Any
    output: Path


def find_links(recipes: Path, runs: Path = Path("runs")) -> tuple[Path, list[Link]]:
    """Return the folder of recipes for a text or of a name, and the steps that have one, in order.

    runs: folder for the runs of a text. All recipes are read: a mistake in the last one should not show after an hour.
    Raises UserError where there are none.
    """
    text = find_data(recipes)
    is_text = text.is_file() and text.suffix != ".toml"
    folder = TEXT_RECIPES if is_text else find_recipes(recipes)
    more = arguments_from(str(recipes), runs) if is_text else {}
    links = []
    for name, (module, _) in COMMANDS.items():
        recipe = folder / f"{name}.toml"
        if os.path.exists(recipe):
            step: Step = import_module(module).STAGE
            flags = more.get(name, [])
            settings = read_config(step.config, flags, recipe=recipe, prog=f"folio {name}", description=None)
            links.append(Link(name, step, [str(recipe), *flags], settings, step.output(settings)))
    if not links:
        raise UserError(
            f"{recipes} is no text and has no recipe. Recipes known by name: {known_recipes('pretrain')}."
        )
    return folder, links


def arguments_from(text: str, runs: Path) -> dict[str, list[str]]:
    """Return the arguments by which each stage takes up what those before it made of a text."""
    base = runs / Path(text).stem
    sft, label, reward, grpo = (f"{base}-{name}" for name in ("sft", "label", "reward", "grpo"))
    pairs = ["--data", f"{label}/{TRAIN_FILE}", "--validation", f"{label}/{VALIDATION_FILE}"]
    return {
        "pretrain": ["--data", text, "--run", str(base)],
        "sft": [str(base), "--run", sft],
        "label": [
            sft,
            "--out",
            label,
            "--data",
            f"{REQUESTS}:{text}",
            "--judge",
            JUDGE,
            f"{LIKELIHOOD}{base}={LIKELIHOOD_WEIGHT}",
        ],
        "reward": [sft, "--run", reward, *pairs],
        "grpo": [sft, "--run", grpo, "--data", f"{REQUESTS}:{text}", "--reward", JUDGE, f"{reward}=0.33"],
    }


def present(assistants: Sequence[Link], console: Console, *, may_chat: bool) -> None:
    """Show the answers of assistants to the same questions, and chat with the last where there is a terminal."""
    last = assistants[-1]
    questions = flatten(to_table(last.settings))["prompt"]
    if not questions:
        questions = sample_questions(find_prompts(*data_for(last.output)).validation)
    heading("The same questions to each", console)
    show_answers({link.name: link.output for link in assistants}, questions, console)
    if may_chat and sys.stdin.isatty() and sys.stdout.isatty():
        heading("Now you", console)
        import_module(COMMANDS["chat"][0]).main([str(last.output)])
    else:
        show_next([f"folio chat {last.output}"], console)


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
        # An answer comes after the lines of its question.
        answers[name] = [text.split("\n", prompt.count("\n") + 1)[-1].strip() for prompt, text in samples]
    for number, question in enumerate(questions):
        console.print(Text(f"\n> {question}", style="bold"))
        show_table({name: texts[number] for name, texts in answers.items()}, console)
