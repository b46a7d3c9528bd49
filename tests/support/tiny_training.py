"""A tiny training, without a run, a command line or files."""

from typing import Any

import torch
from random_models import TOKENIZER, random_gpt

from folio.data.windows import RandomWindows, validation_windows
from folio.evaluation.loss import HeldOut
from folio.objectives.next_token import next_token_loss
from folio.runs.budget import Budget
from folio.runs.state import Training
from folio.runtime import Runtime
from folio.training.loop import Accumulated, StepReport
from folio.training.plan import Plan
from folio.training.schedule import ScheduleConfig
from folio.training.task import LossFunction, Task

TEXT = "a bad cafe fed a deaf cab " * 12
RUNTIME = Runtime(torch.device("cpu"), torch.float32, compiles=False, threads=1, flops_per_second=1e9)


def make_training(
    loss_function: LossFunction = next_token_loss, steps: int = 8, seed: int = 0, **more: Any
) -> Training:
    """A model of random weights and the task of training it on `TEXT`, with dropout, so that chance has its part."""
    ids = torch.from_numpy(TOKENIZER.encode(TEXT))
    model = random_gpt(seed, dropout=0.1)
    task = Task(
        model=model,
        source=Accumulated(RandomWindows(ids, block_size=8, batch_size=2, seed=1), 2),
        loss_function=loss_function,
        optimizers=[torch.optim.AdamW(model.parameters(), lr=0.01)],
        steps=steps,
        schedule=ScheduleConfig(warmup_steps=0),
    )
    settings: dict[str, Any] = {
        "evaluation": HeldOut(list(validation_windows(ids[:60], 8, 4)), n_bytes=59),
        "runtime": RUNTIME,
        "budget": Budget.of_minutes(None, steps),
        "plan": Plan(model=model.config, micro_batch_size=2, accumulation=2, steps=steps),
    }
    return Training(model=model, tokenizer=TOKENIZER, task=task, **{**settings, **more})


def make_report(step: int, loss: float = 1.0, **metrics: float) -> StepReport:
    return StepReport(step, loss, metrics, gradient_norm=0.5, learning_rate=0.01, n_tokens=32, seconds=0.25)
