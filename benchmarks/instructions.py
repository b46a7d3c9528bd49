"""Measure what instructions made from a text teach: what a prompt is worth for its answer, and which requests are met.

    folio pretrain shakespeare
    python benchmarks/instructions.py --write

Fine-tunes a base by the recipe `shakespeare`, with ten evaluations on the way, on lines, words and (for half of the requests)
phrasings that were held out, at the temperature of a chat. Last it writes the share of held-out requests that are met in
phrasings of training and in new ones, over all of them, and what their prompts are worth.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from folio.config import PACKAGED_RECIPES
from folio.data.known import find_conversations
from folio.evaluation.listening import ANSWER_TOKENS, TEMPERATURE, exchange, prompt_pmi, requests_of
from folio.evaluation.skills import SkillsMet
from folio.files import read_json
from folio.runs.directory import RunDirectory
from folio.runs.load import load_for_chat
from folio.runs.pace import FILE
from support.measurements import add_measurement

DOCS = Path(__file__).parents[1] / "docs"
DRAWN = ("repeat", "capitals", "last word", "about")
"""Skills in the figure."""


@dataclass(frozen=True)
class Arguments:
    """What to measure."""

    base: Path = Path("runs/shakespeare")
    """A run of pretraining."""
    data: str = "instructions:shakespeare"
    seed: int = 1
    threads: int = 2
    temperature: float = TEMPERATURE
    run: Path | None = None
    """Keep the run there, and take it as it is if it is finished; by default it is deleted."""
    write: bool = False
    """Add the figures to instructions.json, from which `make docs` fills in docs/sft.md, draw docs/skills.png, and tell
    `folio run` how many requests are met after which share of the steps."""


def main(arguments: Arguments) -> None:
    """Fine-tune, and print what was learned when."""
    with tempfile.TemporaryDirectory() as folder:
        run = RunDirectory(arguments.run or Path(folder) / "sft")
        command = [
            "sft",
            "shakespeare",
            str(arguments.base),
            "--data",
            arguments.data,
            "--seed",
            str(arguments.seed),
            "--threads",
            str(arguments.threads),
        ]
        command += ["--run", str(run.path), "--resume"]
        subprocess.run([sys.executable, "-m", "folio", *command], check=True)
        rows = [row_of(run.read_info()["before"], step=0), *evaluations(run)]
        model, tokenizer = load_for_chat(run.path)
        conversations = find_conversations([arguments.data]).validation
        for is_new in (False, True):
            asked = [each for each in conversations if each.columns["is_new"] == is_new]
            requests = requests_of(asked, tokenizer, model.config.block_size)
            skills = SkillsMet(requests, tokenizer, arguments.temperature, ANSWER_TOKENS)
            words = "new phrasings" if is_new else "phrasings of training"
            rows.append({"what": f"{len(requests)} requests in {words}", **row_of(skills(model))})
        exchanges = [exchange(each, tokenizer) for each in conversations]
        evaluation = prompt_pmi(exchanges, tokenizer, model.config.block_size)
        if evaluation is not None:
            rows.append({"what": "the prompts of all of them", **row_of(evaluation(model))})
        for row in rows:
            print(row)
        if arguments.write:
            add_measurement(Path(__file__), rows)
            draw(rows, DOCS / "skills.png")
            keep_met(rows, PACKAGED_RECIPES / "shakespeare" / FILE)


def keep_met(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Keep in the times of the recipe how many requests are met after which share of the steps."""
    curve = [(row["step"], row["met"]) for row in rows if "step" in row]
    last, _ = curve[-1]
    times = read_json(path) | {"met": {f"{step / last:.2f}": met for step, met in curve}}
    path.write_text(json.dumps(times, indent=1) + "\n", encoding="utf-8")


def draw(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw what a prompt is worth, and which requests are met, over steps."""
    from matplotlib.figure import Figure  # takes a second to import

    curve = [row for row in rows if "step" in row]
    steps = [row["step"] for row in curve]
    figure = Figure(figsize=(9, 3.4), dpi=110, layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(steps, [row["prompt_pmi"] for row in curve], marker="o", markersize=3)
    left.set(title="What the right prompt is worth", xlabel="step", ylabel="nats an answer")
    for skill in DRAWN:
        right.plot(steps, [row.get(f"met/{skill}") for row in curve], marker="o", markersize=3, label=skill)
    right.set(title="Requests met", xlabel="step", ylim=(-0.03, 1.03))
    right.legend(fontsize=8)
    figure.savefig(path)


def evaluations(run: RunDirectory) -> list[dict[str, Any]]:
    """Return a row for each evaluation on the way."""
    records = [record for record in run.read_metrics() if "val_loss" in record]
    return [row_of(record, step=record["step"], seconds=round(record["train_seconds"])) for record in records]


def row_of(metrics: dict[str, float], **facts: Any) -> dict[str, Any]:
    """Return the metrics of listening, rounded."""
    kept = {
        name.removeprefix("val_"): round(value, 3)
        for name, value in metrics.items()
        if name.startswith(("val_loss", "val_prompt", "val_met"))
    }
    return facts | kept


if __name__ == "__main__":
    main(tyro.cli(Arguments, description=__doc__))
