"""Measure the assistants of a recipe on one frozen set of requests: what they hear, what they do, and what RL adds to SFT.

    for seed in 1 2 3: the stages of the recipe `shakespeare`, each with --seed $seed, to runs/$seed-sft, runs/$seed-grpo
    python benchmarks/assistant.py --sft runs/*-sft --tuned runs/*-grpo --write

The requests are made of the held-out part of the text: N of each skill in phrasings of training and in new ones. Every
model answers them at two temperatures. To those that can be answered better or worse it gives N_ANSWERS answers, as in a chat,
which the checkers and the recipe's rubric judge: the same requests, answers and rubric for each model. Intervals are
bootstrapped over requests (Efron, 1979), for the mean over seeds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from runpy import run_path
from statistics import mean
from typing import Any

import numpy as np
import tyro
from numpy.typing import NDArray

from folio.config import PACKAGED_RECIPES
from folio.data.conversations import Conversation
from folio.data.corpora import load_corpus
from folio.data.instructions import make_instructions
from folio.data.material import Material
from folio.data.skills import SKILLS
from folio.evaluation.diversity import distinct_n
from folio.evaluation.listening import ANSWER_TOKENS, exchange, prompt_pmi, requests_of
from folio.evaluation.skills import SkillsMet
from folio.model.gpt import GPT
from folio.runs.load import load_for_chat
from folio.tokenizer.protocol import Tokenizer
from support.measurements import add_measurement

N = 50
"""Requests of each skill, in phrasings of training and in new ones each."""
N_ANSWERS = 2
"""Answers to each request that can be answered better or worse."""
DRAWN = 8_000
"""Requests among which those of each skill are looked for."""
TEMPERATURES = (0.3, 0.8)
CHAT = 0.8
"""The temperature of a chat."""
RESAMPLES = 2_000


@dataclass(frozen=True)
class Arguments:
    """What to measure."""

    sft: tuple[Path, ...]
    """Fine-tuned models, one a seed."""
    tuned: tuple[Path, ...] = ()
    """Each of them after reinforcement learning, in the same order."""
    recipe: str = "shakespeare"
    text: str = "shakespeare"
    write: bool = False
    """Add the figures to assistant.json, from which `make docs` fills in docs/sft.md."""


@dataclass(frozen=True)
class Judged:
    """Answers to the free requests: (requests) each, the mean over answers of one request."""

    met: NDArray[np.float64]
    quality: NDArray[np.float64]
    distinct_2: float


def main(arguments: Arguments) -> None:
    """Measure each model, print a row for each question, and keep them."""
    asked = frozen(arguments.text)
    rubric = run_path(str(PACKAGED_RECIPES / arguments.recipe / "rubric.py"))["score"]
    rows: list[dict[str, Any]] = []
    judged: dict[str, list[Judged]] = {}
    for name, paths in (("sft", arguments.sft), ("tuned", arguments.tuned)):
        models = [load_for_chat(path) for path in paths]
        if not models:
            continue
        heard = [hearing(model, tokenizer, asked) for model, tokenizer in models]
        rows.append({"what": "hearing", "model": name, **averaged(heard)})
        for temperature in TEMPERATURES:
            for is_new in (False, True):
                part = [each for each in asked if each.columns["is_new"] == is_new]
                met = [requests_met(model, tokenizer, part, temperature) for model, tokenizer in models]
                phrasing = "new" if is_new else "known"
                rows.append(
                    {"what": "met", "model": name, "temperature": temperature, "phrasing": phrasing}
                    | averaged(met)
                )
        judged[name] = [judge(model, tokenizer, free(asked), rubric) for model, tokenizer in models]
        rows.append({"what": "free requests", "model": name, **summary(judged[name])})
    if arguments.tuned:
        rows.append({"what": "difference", **difference(judged["sft"], judged["tuned"])})
    for row in rows:
        print(row)
    if arguments.write:
        add_measurement(Path(__file__), rows)


def frozen(text: str) -> list[Conversation]:
    """Return held-out requests, always the same: up to N of each skill in known phrasings and in new ones."""
    train, held_out = load_corpus(text).split()
    material = Material(held_out, is_held_out=True, seen=Material(train).lines)
    chosen: dict[tuple[str, bool], list[Conversation]] = defaultdict(list)
    for each in make_instructions(material, DRAWN, seed=3):
        kind = (each.columns["skill"], each.columns["is_new"])
        if len(chosen[kind]) < N:
            chosen[kind].append(each)
    return [each for kind in sorted(chosen) for each in chosen[kind]]


def free(asked: Iterable[Conversation]) -> list[Conversation]:
    """Return the requests that can be answered better or worse."""
    return [each for each in asked if SKILLS[each.columns["skill"]].is_free]


def hearing(model: GPT, tokenizer: Tokenizer, asked: Sequence[Conversation]) -> dict[str, float]:
    """Return what the right prompt is worth over another of its skill, and how often it wins."""
    evaluation = prompt_pmi([exchange(each, tokenizer) for each in asked], tokenizer, model.config.block_size)
    assert evaluation is not None
    return evaluation(model)


def requests_met(
    model: GPT, tokenizer: Tokenizer, asked: Sequence[Conversation], temperature: float
) -> dict[str, float]:
    """Return the share of requests that one answer each meets."""
    requests = requests_of(asked, tokenizer, model.config.block_size)
    return SkillsMet(requests, tokenizer, temperature, ANSWER_TOKENS)(model)


def judge(model: GPT, tokenizer: Tokenizer, asked: Sequence[Conversation], rubric: Any) -> Judged:
    """Return what checkers and the rubric say of several answers to each request."""
    requests = requests_of(asked, tokenizer, model.config.block_size)
    fitting = [each for each in asked if requests_of([each], tokenizer, model.config.block_size)]
    answers = [
        SkillsMet(requests, tokenizer, CHAT, ANSWER_TOKENS, seed).answers(model)
        for seed in range(1, N_ANSWERS + 1)
    ]
    met = [
        [request.is_met(answer) for request, answer in zip(requests, each, strict=True)] for each in answers
    ]
    quality = [
        [
            rubric(row[-2]["content"], answer, row.columns["skill"], row.columns["fields"])
            for row, answer in zip(fitting, each, strict=True)
        ]
        for each in answers
    ]
    every_answer = [answer for each in answers for answer in each]
    return Judged(np.mean(met, axis=0), np.mean(quality, axis=0), distinct_n(every_answer))


def averaged(found: Sequence[dict[str, float]]) -> dict[str, Any]:
    """Return the mean over seeds of each figure, and of the lowest seed where there are several."""
    names = found[0]
    means = {name.removeprefix("val_"): round(mean(each[name] for each in found), 4) for name in names}
    if len(found) > 1:
        key = next(name for name in ("val_met", "val_prompt_wins") if name in names)
        means["seeds"] = [round(each[key], 4) for each in found]  # type: ignore[assignment]
    return means


def summary(judged: Sequence[Judged]) -> dict[str, Any]:
    """Return the means over seeds and requests, with intervals of 95 %."""
    return {
        "met": interval(np.mean([each.met for each in judged], axis=0)),
        "quality": interval(np.mean([each.quality for each in judged], axis=0)),
        "distinct_2": round(mean(each.distinct_2 for each in judged), 4),
    }


def difference(before: Sequence[Judged], after: Sequence[Judged]) -> dict[str, Any]:
    """Return what reinforcement learning adds to the mean over seeds, request by request, and in each seed."""
    gained = {
        name: np.array(
            [getattr(new, name) - getattr(old, name) for old, new in zip(before, after, strict=True)]
        )
        for name in ("met", "quality")
    }
    return {
        **{name: interval(each.mean(axis=0)) for name, each in gained.items()},
        "distinct_2": round(
            mean(each.distinct_2 for each in after) - mean(each.distinct_2 for each in before), 4
        ),
        **{f"{name} by seed": each.mean(axis=1).round(4).tolist() for name, each in gained.items()},
    }


def interval(values: NDArray[np.float64]) -> list[float]:
    """Return the mean and the limits of its 95 % bootstrap interval. values: (requests)."""
    chance = np.random.default_rng(1)
    means = values[chance.integers(len(values), size=(RESAMPLES, len(values)))].mean(axis=1)
    return [round(float(each), 4) for each in (values.mean(), *np.quantile(means, (0.025, 0.975)))]


if __name__ == "__main__":
    main(tyro.cli(Arguments, description=__doc__))
