"""What the rubric says of real replies, of a model's, and of broken ones: the calibration in docs/rubric.md.

    python benchmarks/rubric.py --model runs/plays-sft

The model answers every held-out prompt of the plays twice, at temperature 1 and with at most 120 tokens; each of its
two answers meets the real reply, and the two meet each other. Writes benchmarks/rubric.json, from which `make docs` fills in
the page.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from runpy import run_path
from statistics import mean, pstdev

import torch
import tyro

import folio
from folio.config import PACKAGED_RECIPES
from folio.data.known import find_conversations
from folio.evaluation.preferences import longer_wins
from folio.rl.rollouts import Prompt, sample_completions
from folio.runs.load import load_for_chat
from folio.runtime import choose_device, describe
from folio.tokenizer.chat_template import Message, prompt_ids

RUBRIC = run_path(str(PACKAGED_RECIPES / "plays" / "rubric.py"))
TIE = 0.1
"""Of the recipe plays, label.toml: how far apart two answers must be to become a pair."""

WORD = "[A-Za-z]+"
LETTERS = "abcdefghijklmnopqrstuvwxyz "
BROKEN: dict[str, Callable[[str, str, random.Random], str]] = {
    "words shuffled": lambda _, reply, dice: " ".join(dice.sample(reply.split(), len(reply.split()))),
    "the same, punctuation kept": lambda _, reply, dice: shuffled_in_place(reply, dice),
    "letters of each word shuffled": lambda _, reply, dice: re.sub(
        WORD, lambda word: "".join(dice.sample(word[0], len(word[0]))), reply
    ),
    "truncated after 60 %": lambda _, reply, dice: reply[: len(reply) * 6 // 10],
    "first words repeated five times": lambda _, reply, dice: f"{(reply.rstrip('.!?,-')[:20] + ', ') * 5}ay.",
    "the prompt repeated": lambda prompt, reply, dice: prompt,
    '"my lord" five times': lambda _, reply, dice: "My lord, my lord, my lord, my lord, my lord.",
    "random letters of the same length": lambda _, reply, dice: (
        "".join(dice.choices(LETTERS, k=len(reply))) + "."
    ),
}
"""Ways to spoil a reply: of prompt, reply and dice."""


def main(model: Path = Path("runs/plays-sft"), seed: int = 1) -> None:
    """Sample, judge, print, and write the figures of the page."""
    asked = held_out()
    real = [(prompt[-1]["content"], reply) for prompt, reply in asked]
    own, ends = answers(model, [prompt for prompt, _ in asked for _ in range(2)], seed)
    everything, whole = own + real, ends + [True] * len(real)
    scores = [RUBRIC["score"](*each) for each in everything]
    twos = [(i, i + 1) for i in range(0, len(own), 2)]
    rows = [
        row("real replies", real),
        row("better of the model's two", [own[max(two, key=scores.__getitem__)] for two in twos]),
        row("the model's", own),
        row("the model's, truncated", [each for each, ended in zip(own, ends, strict=True) if not ended]),
        *(row(name, broken(name, real)) for name in BROKEN),
    ]
    for each in rows:
        print(each)
    real_wins = [scores[len(own) + i // 2] > scores[i] for i in range(len(own))]
    ties = [abs(scores[a] - scores[b]) <= TIE for a, b in twos]
    print(f"\nreal beats the model's to the same prompt: {mean(real_wins):.0%}")
    print(f"the model's two are no more than {TIE} apart: {mean(ties):.0%}")
    against = [(len(own) + i, 2 * i) for i in range(len(real))]
    both_whole = [(a, b) for a, b in twos if whole[a] and whole[b]]
    pairs = both_whole + [(a, b) for a, b in against if whole[b]]
    kinds = {"the model's two": twos, "both whole": both_whole, "and real with the model's, whole": pairs}
    longer: dict[str, float] = {}
    for name, of in kinds.items():
        ordered = [sorted(pair, key=scores.__getitem__, reverse=True) for pair in of]
        apart = [(good, bad) for good, bad in ordered if scores[good] - scores[bad] > TIE]
        lengths = [(len(everything[good][1]), len(everything[bad][1])) for good, bad in apart]
        longer[name] = round(longer_wins(lengths), 4)
        print(f"the longer wins where they are further apart, {name}: {longer[name]:.0%} of {len(apart)}")
    report = {
        "folio": folio.__version__,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": describe(choose_device("cpu")),
        "torch": torch.__version__,
        "command": f"python benchmarks/rubric.py --model {model} --seed {seed}",
        "rows": rows,
        "real_wins": round(mean(real_wins), 4),
        "ties": round(mean(ties), 4),
        "longer_wins": longer,
    }
    Path(__file__).with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def held_out() -> list[tuple[list[Message], str]]:
    """Return what is said, and the real reply, from the held-out text of the plays."""
    conversations = find_conversations(["shakespeare"]).validation
    return [(messages[:-1], messages[-1]["content"]) for messages in conversations]


def answers(
    path: Path, asked: Sequence[list[Message]], seed: int
) -> tuple[list[tuple[str, str]], list[bool]]:
    """Return the model's: prompts and answers, and which of them end by themselves."""
    model, tokenizer = load_for_chat(path)
    prompts = [Prompt(messages[-1]["content"], prompt_ids(tokenizer, messages)) for messages in asked]
    samples = []
    for first in range(0, len(prompts), 64):
        part, at = prompts[first : first + 64], 1000 * seed + first
        samples += sample_completions(model, tokenizer, part, max_new_tokens=120, temperature=1.0, seed=at)
    return [(each.prompt, each.completion) for each in samples], [each.is_stopped for each in samples]


def broken(name: str, real: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Prompts and spoiled replies, always the same."""
    dice = random.Random(0)
    return [(prompt, BROKEN[name](prompt, reply, dice)) for prompt, reply in real]


def shuffled_in_place(text: str, dice: random.Random) -> str:
    """Other words between the punctuation."""
    found = re.findall(WORD, text)
    new = iter(dice.sample(found, len(found)))
    return re.sub(WORD, lambda _: next(new), text)


def row(name: str, judged: Sequence[tuple[str, str]]) -> dict[str, str | float]:
    """Mean and standard deviation of the score, and the mean of each criterion where there is a word to judge."""
    scores = [RUBRIC["score"](*each) for each in judged]
    said = [each for each in judged if RUBRIC["words"](each[1])]
    means = {
        criterion: mean(measure(*each) for each in said)
        for criterion, (_, measure) in RUBRIC["CRITERIA"].items()
    }
    figures = {"mean": mean(scores), "sd": pstdev(scores)} | means
    return {"answers": name} | {key: round(value, 4) for key, value in figures.items()}


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
