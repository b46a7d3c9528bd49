"""How long the stages of a recipe take on this machine, from their measured times on another."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from folio.data.windows import RandomWindows
from folio.errors import UserError
from folio.files import read_json
from folio.inference.config import GenerationConfig
from folio.inference.engine import Engine
from folio.model.config import GPTConfig
from folio.model.gpt import GPT
from folio.objectives.next_token import next_token_loss
from folio.runtime import Runtime, synchronize
from folio.training.loop import Accumulated
from folio.training.optimizer import OptimizerConfig, build_optimizers
from folio.training.task import Task

FILE = "times.json"
SAMPLE = GPTConfig(
    vocab_size=70, block_size=256, n_layer=6, n_head=3, n_kv_head=3, n_embd=192, head_size=64, mlp_size=512
)
"""The model of the Shakespeare recipe."""
BATCH_SIZE, TRAINED = 8, 3
"""Sequences in a step, and steps."""
ANSWERS, ANSWER_TOKENS = 64, 16


@dataclass(frozen=True, kw_only=True)
class RecipeTimes:
    """Measured times of the stages of a recipe.

    pace: seconds of `measure_pace` on the machine of the measurement. stages: seconds of each stage there. losses: the
    validation loss of pretraining by the share of its steps that are made. met: the share of held-out requests that are met
    after fine-tuning, likewise; empty where it teaches none.
    """

    hardware: str
    folio: str
    date: str
    command: str
    pace: float
    stages: Mapping[str, float]
    losses: Mapping[str, float]
    met: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def beside(cls, folder: Path) -> RecipeTimes | None:
        """Load `times.json` of a recipe's folder; None if there is none. Raises UserError if it is damaged."""
        path = folder / FILE
        if not path.exists():
            return None
        try:
            return cls(**read_json(path))
        except TypeError as error:
            raise UserError(f"{path} does not hold the times of a recipe ({error}).") from None

    def seconds(self, stages: Iterable[str], pace: float) -> float:
        """Return how long these stages take on a machine of this pace."""
        return sum(self.stages.get(name, 0.0) for name in stages) * pace / self.pace

    def needed(self, pace: float) -> dict[str, float]:
        """Return the seconds that a stage needs to teach what it is for, on a machine of this pace, where that is known.

        Fine-tuning needs those until half of the requests are met that are met in the end: the circuit that copies forms
        suddenly, and before that it answers without having listened (docs/sft.md).
        """
        if not self.met:
            return {}
        shares = sorted((float(at), met) for at, met in self.met.items())
        half = next(at for at, met in shares if met >= shares[-1][1] / 2)
        return {"sft": half * self.seconds(["sft"], pace)}

    @property
    def least_share(self) -> float:
        """The smallest share of the steps whose loss was measured."""
        return min(map(float, self.losses))

    def expected_loss(self, share: float) -> float:
        """Return the validation loss to expect of pretraining with a share of its steps.

        Linear in the logarithm of the share between the measured ones; below the least of them it is higher than this.
        """
        shares, losses = zip(*sorted((float(at), loss) for at, loss in self.losses.items()), strict=True)
        return float(np.interp(np.log(share), np.log(shares), losses))

    def expected_met(self, share: float) -> float:
        """Return the share of requests to expect to be met after a share of the steps of fine-tuning."""
        shares, met = zip(*sorted((float(at), met) for at, met in self.met.items()), strict=True)
        return float(np.interp(share, shares, met))


def measure_pace(runtime: Runtime) -> float:
    """Return the seconds of a training step and of some sampled answers: what the time of a recipe goes into.

    The best of a few each, as other processes may be using the machine. The random state stays as it is.
    """
    with torch.random.fork_rng(devices=()):
        model = GPT(SAMPLE)
    runtime.place(model)
    ids = torch.arange(20_000, dtype=torch.int32) % SAMPLE.vocab_size
    task = Task(
        model=model,
        source=Accumulated(
            RandomWindows(ids, block_size=SAMPLE.block_size, batch_size=BATCH_SIZE, seed=1), 1
        ),
        loss_function=next_token_loss,
        optimizers=build_optimizers(model, OptimizerConfig()),
        steps=TRAINED,
    )
    step_seconds = min(report.seconds for report in task.reports())
    engine, prompts = Engine(model.eval()), [ids[:20].tolist()] * ANSWERS
    generation = GenerationConfig(max_new_tokens=ANSWER_TOKENS)
    sampling_seconds = min(
        _seconds(lambda: engine.generate(prompts, generation), runtime.device) for _ in range(2)
    )
    return step_seconds + sampling_seconds


def _seconds(call: Callable[[], object], device: torch.device) -> float:
    synchronize(device)
    start = time.perf_counter()
    call()
    synchronize(device)
    return time.perf_counter() - start
