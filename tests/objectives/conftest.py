"""Batches of completions, shared by the tests of this folder."""

import pytest
import torch
from completions import PAIRS
from random_models import PAD, random_gpt, random_scorer

from folio.batch import Completions
from folio.model.score import ActorCritic
from folio.objectives.grpo import GRPOBatch
from folio.objectives.ppo import PPOBatch


@pytest.fixture
def plain():
    return Completions.from_pairs(PAIRS, PAD)


@pytest.fixture
def numbers(plain):
    """Random ones for each predicted token: (B, T - 1)."""
    generator = torch.Generator().manual_seed(0)
    return lambda scale=1.0: scale * torch.randn(plain.mask[:, 1:].shape, generator=generator)


@pytest.fixture
def ppo_batch(plain, numbers):
    return PPOBatch(
        plain.ids, plain.mask, numbers() - 3, numbers(), advantages=numbers(), returns=numbers(2.0)
    )


@pytest.fixture
def grpo_batch(plain, numbers):
    return GRPOBatch(plain.ids, plain.mask, numbers() - 3, numbers() - 3, advantages=numbers())


@pytest.fixture
def learner():
    return ActorCritic(random_gpt(), random_scorer())
