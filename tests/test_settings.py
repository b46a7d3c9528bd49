"""The settings of all stages: bounds that a NaN does not pass, and keys that mean one thing."""

import dataclasses
import math
from typing import get_args, get_type_hints

import pytest

from folio.config import flatten, from_table, to_table
from folio.errors import UserError
from folio.stages.dpo import DPORunConfig
from folio.stages.grpo import GRPORunConfig
from folio.stages.ppo import PPORunConfig
from folio.stages.pretrain import PretrainRunConfig
from folio.stages.reward import RewardRunConfig
from folio.stages.sft import SFTRunConfig

CONFIGS = [PretrainRunConfig, SFTRunConfig, RewardRunConfig, DPORunConfig, PPORunConfig, GRPORunConfig]


def numbers_of(cls):
    """The names of all settings that are floats, also of a stage's parts."""
    for name, hint in get_type_hints(cls).items():
        if dataclasses.is_dataclass(hint):
            yield from numbers_of(hint)
        elif hint is float or float in get_args(hint):
            yield name


NUMBERS = sorted({(cls, name) for cls in CONFIGS for name in numbers_of(cls)}, key=str)


@pytest.mark.parametrize(("cls", "name"), NUMBERS, ids=lambda each: getattr(each, "__name__", each))
def test_no_number_may_be_nan(cls, name):
    with pytest.raises(UserError, match=rf"{name} is nan: it must be "):
        from_table(cls, {name: math.nan}, "recipe.toml")


@pytest.mark.parametrize("cls", CONFIGS)
def test_nothing_given_means_the_defaults(cls):
    """No two parts of a config share a name, or this would raise TypeError."""
    assert from_table(cls, {}, "recipe.toml") == cls()


@pytest.mark.parametrize("cls", CONFIGS)
def test_each_key_means_the_same_in_its_table_and_above(cls):
    tables = to_table(cls())
    assert from_table(cls, tables, "run.json") == from_table(cls, flatten(tables), "run.json") == cls()


@pytest.mark.parametrize(
    ("cls", "part"),
    [(PretrainRunConfig, "optimizer"), (SFTRunConfig, "optimizer"), (PPORunConfig, "optimizer"),
     (DPORunConfig, "optimizer"), (GRPORunConfig, "optimizer"), (RewardRunConfig, "optimizer")],
)  # fmt: skip
def test_a_key_in_its_table_and_above_is_refused(cls, part):
    twice = {"learning_rate": 0.1, part: {"learning_rate": 0.1}}
    with pytest.raises(UserError, match=r"recipe\.toml: learning_rate is given twice"):
        from_table(cls, twice, "recipe.toml")


@pytest.mark.parametrize("dropout", [-0.1, 1.0])
def test_a_dropout_out_of_range_is_refused_before_any_size_is_chosen(dropout):
    with pytest.raises(UserError, match=rf"dropout is {dropout}: it must be at least 0 and below 1"):
        from_table(PretrainRunConfig, {"dropout": dropout}, "recipe.toml")
