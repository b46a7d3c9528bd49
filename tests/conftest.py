"""What tests of every folder use."""

import os

import pytest
import torch
from hypothesis import settings

settings.register_profile("folio", deadline=None)  # speed is never asserted in a test
settings.load_profile("folio")


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Tiny tensors gain nothing from more, and lose much when the cores are busy."""
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"  # for processes that tests start


@pytest.fixture(autouse=True)
def _random_state() -> None:
    """Every test starts from the same random state, whatever ran before it."""
    torch.manual_seed(0)
