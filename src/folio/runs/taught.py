"""What an assistant was taught to do with requests made from its text, and whether an answer does it."""

from __future__ import annotations

from pathlib import Path

from folio.data.known import text_of_instructions
from folio.data.skills import SKILLS, recognized
from folio.errors import UserError
from folio.files import read_lines
from folio.runs.default_data import data_for
from folio.runs.directory import RunDirectory, run_around
from folio.runs.load import stage_of


def follows_instructions(run: Path) -> bool:
    """Return whether a model was fine-tuned on instructions made from a text."""
    if stage_of(run_around(run) or run) in ("", "pretrain"):
        return False
    try:
        return any(text_of_instructions(each) for each in data_for(run)[0])
    except UserError:  # what it was made from is not there any more
        return False


def example_requests(run: Path, n: int = 3) -> list[str]:
    """Return held-out requests that a run answered while it was trained, the first n of known kinds."""
    place = RunDirectory(run_around(run) or run)
    asked = dict.fromkeys(str(line["prompt"]) for line in read_lines(place.samples_file) if "prompt" in line)
    return [prompt for prompt in list(asked)[:n] if recognized(prompt)]


def invitation(run: Path) -> str:
    """Return what a model was taught to do, with held-out requests that it answered on the way."""
    examples = "".join(f"\n  {prompt}" for prompt in example_requests(run))
    return f"This model was taught, as far as its text allows: {', '.join(SKILLS)}." + (
        f" For example:{examples}" if examples else ""
    )


def remark(request: str, answer: str, before: str = "") -> str:
    """Return whether an answer does what a request asks for, as its checker says. before: the answer before it."""
    found = recognized(request, before)
    if found is None:
        return "that was no request of a kind that this model was taught: its answer is a guess."
    skill, fields = found
    return f"{skill.name}: {'done as asked' if skill.met(fields, answer) else 'not what was asked for'}."
