"""Sizes, a text and an outcome, for tiny runs through the command line."""

import json
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from folio.runs.directory import RunDirectory

STEPS = 20
TINY = (
    *("--device", "cpu", "--precision", "float32", "--compile", "off", "--threads", "1"),
    *("--n-layer", "2", "--n-head", "2", "--n-embd", "16", "--mlp-size", "24", "--block-size", "16"),
    *("--micro-batch-size", "2", "--tokens-per-step", "64", "--steps", str(STEPS), "--sample-tokens", "8"),
    *("--reserve", "none"),
)


def make_text(n_words: int = 900) -> str:
    """Words and lines, with letters from beyond ASCII."""
    chance = random.Random(0)
    words = ["the", "cat", "sat", "on", "a", "mat", "and", "ran", "to", "Zoë?", "no!", "42", "—", "東京"]
    return "".join(chance.choice(words) + chance.choice("   \n") for _ in range(n_words))


@dataclass(frozen=True)
class Outcome:
    """What a command did: its exit code, and what it wrote to whom."""

    code: int
    out: str
    err: str

    @property
    def mistake(self) -> str:
        """The one line in which a person's mistake is told."""
        lines = [line for line in self.err.splitlines() if line.strip()]
        assert self.code == 2, (self.code, self.err)
        assert len(lines) == 1, self.err
        assert lines[0].startswith("folio: ")
        assert "Traceback" not in self.out
        return lines[0]


Folio = Callable[..., Outcome]


def answering(run: Path, copy: Path) -> Path:
    """Copy a run, as one whose model was taught to answer; the weights stay."""
    shutil.copytree(run, copy)
    made = RunDirectory(copy)
    made.write_info({**made.read_info(), "stage": "sft"})
    return copy


def instructed(run: Path, copy: Path) -> Path:
    """Copy a run, as one that was fine-tuned on instructions and has answered a request; the weights stay."""
    made = RunDirectory(answering(run, copy))
    info = made.read_info()
    made.write_info({**info, "config": {**info["config"], "data": "instructions:words.txt"}})
    made.samples_file.write_text(json.dumps({"step": 1, "prompt": "Repeat: the cat", "text": "> "}) + "\n")
    return copy
