import dataclasses

import pytest

from folio.errors import UserError
from folio.inference.config import GenerationConfig
from folio.inference.sampling import SamplingConfig


def test_only_the_length_must_be_given() -> None:
    config = GenerationConfig(max_new_tokens=5)
    assert (config.sampling, config.stop_ids) == (SamplingConfig(), ())
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.seed = 2  # type: ignore[misc]


@pytest.mark.parametrize("name", ["max_new_tokens", "seed"])
def test_values_outside_their_range_are_named(name: str) -> None:
    with pytest.raises(UserError, match=f"^{name} is -1: it must be at least 0"):
        GenerationConfig(**{"max_new_tokens": 5, name: -1})
