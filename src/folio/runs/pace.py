"""How long a chain of stages takes on this machine, from the times of a measured one."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from folio.data.windows import RandomWindows
from folio.errors import UserError
from folio.files import read_json
from folio.inference.config import GenerationConfig
from folio.inference.engine import Engine
from folio.inference.sampling import SamplingConfig
from folio.model.config import GPTConfig
from folio.model.gpt import GPT
from folio.objectives.next_token import next_token_loss
from folio.runtime import Runtime, synchronize
from folio.training.loop import Accumulated
from folio.training.optimizer import OptimizerConfig, build_optimizers
from folio.training.task import Task

SAMPLE = GPTConfig(
    vocab_size=70, block_size=256, n_layer=6, n_head=3, n_kv_head=3, n_embd=192, head_size=64, mlp_size=512
)
"""The model of the Shakespeare recipe."""
TRAINED, ANSWERS, ANSWER_TOKENS = 3, 64, 16
"""Steps of 8 x 256 tokens, and answers sampled at once, in the measurement."""


@dataclass(frozen=True, kw_only=True)
class ChainTimes:
    """The measured times of a recipe's stages.

    pace: seconds of `measure_pace` on the machine of the measurement. stages: seconds of each stage there. losses: the
    validation loss after pretraining with a share of its steps, by that share.
    """

    hardware: str
    command: str
    pace: float
    stages: dict[str, float]
    losses: dict[str, float]

    @classmethod
    def beside(cls, folder: Path) -> ChainTimes | None:
        """Load `times.json` of a recipe's folder; None if there is none. Raises UserError if it is invalid."""
        path = folder / "times.json"
        if not path.exists():
            return None
        try:
            return cls(**read_json(path))
        except TypeError as error:
            raise UserError(f"{path} holds no times ({error}).") from None

    def seconds(self, stages: Sequence[str], pace: float) -> float:
        """Return how long stages take on a machine of this pace."""
        return sum(self.stages.get(name, 0.0) for name in stages) * pace / self.pace

    def expected_loss(self, share: float) -> float:
        """Return the validation loss after a share of the pretraining steps, between the measured ones."""
        shares, losses = zip(*sorted((float(at), loss) for at, loss in self.losses.items()), strict=True)
        return float(np.interp(share, shares, losses))


def measure_pace(runtime: Runtime) -> float:
    """Return the seconds of a training step and a batch of answers, which is what a chain's time goes into.

    The best of a few each, as other processes may be using the machine. Draws no random numbers.
    """
    with torch.random.fork_rng(devices=()):
        model = GPT(SAMPLE)
    runtime.place(model)
    ids = torch.arange(20_000) % SAMPLE.vocab_size
    task = Task(
        model=model,
        source=Accumulated(RandomWindows(ids, block_size=SAMPLE.block_size, batch_size=8, seed=1), 1),
        loss_function=next_token_loss,
        optimizers=build_optimizers(model, OptimizerConfig()),
        steps=TRAINED,
    )
    step_seconds = min(report.seconds for report in task.reports())
    generation = GenerationConfig(
        max_new_tokens=ANSWER_TOKENS, sampling=SamplingConfig(), seed=1, stop_ids=()
    )
    prompts = [ids[:20].tolist()] * ANSWERS
    return step_seconds + min(
        timed(lambda: Engine(model.eval()).generate(prompts, generation), runtime) for _ in range(2)
    )


def timed(call: Callable[[], object], runtime: Runtime) -> float:
    """Return the seconds of a call."""
    synchronize(runtime.device)
    start = time.perf_counter()
    call()
    synchronize(runtime.device)
    return time.perf_counter() - start
