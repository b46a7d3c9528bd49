"""The settings of all commands: bounds on both sides, paths at home, and keys that mean one thing."""

import math
from typing import Annotated, get_args, get_origin

import pytest

from folio import cli
from folio.commands.chat import ChatConfig
from folio.commands.data import ShowConfig
from folio.commands.evaluate import EvaluateConfig
from folio.commands.explain import ExplainConfig
from folio.commands.label import LabelConfig
from folio.commands.ladder import LadderConfig
from folio.commands.quiz import QuizConfig
from folio.commands.rl_report import ReportConfig
from folio.commands.run import ChainConfig
from folio.commands.runs import RunsConfig
from folio.commands.sample import SampleConfig
from folio.commands.serve import ServeConfig
from folio.commands.tokenize import TokenizeConfig
from folio.commands.tokenizer import TokenizerCompareConfig, TokenizerShowConfig, TokenizerTrainConfig
from folio.config import MAY_BE_PATH, flatten, from_table, setting_types, to_table
from folio.errors import UserError
from folio.inference.sampling import SamplingConfig
from folio.runs.flags import read_config
from folio.runtime import RuntimeConfig
from folio.stages.dpo import DPORunConfig
from folio.stages.grpo import GRPORunConfig
from folio.stages.ppo import PPORunConfig
from folio.stages.pretrain import PretrainRunConfig
from folio.stages.reward import RewardRunConfig
from folio.stages.sft import SFTRunConfig

CONFIGS = [PretrainRunConfig, SFTRunConfig, RewardRunConfig, DPORunConfig, PPORunConfig, GRPORunConfig]
COMMANDS = {
    **dict.fromkeys(CONFIGS, ()),
    LabelConfig: (),
    LadderConfig: (),
    ChainConfig: (),
    QuizConfig: (),
    RunsConfig: (),
    RuntimeConfig: (),
    ServeConfig: (),
    SampleConfig: ("a-run",),
    ChatConfig: ("a-run",),
    ReportConfig: ("a-run",),
    ShowConfig: ("a-file",),
    ExplainConfig: ("a-run", "--text", "a"),
    EvaluateConfig: ("a-run", "a-file"),
    TokenizeConfig: ("a-file",),
    TokenizerTrainConfig: ("a-file",),
    TokenizerShowConfig: ("a-tokenizer",),
    TokenizerCompareConfig: ("a-tokenizer",),
}
"""The settings of each command, and the arguments without which it does nothing."""
REFUSED = [-1, math.nan, math.inf, -math.inf, 1e308, 10**23, 2**63, 1 << 100_000]
"""No numeric setting may have these values; of the others, some may."""
DOUBTFUL = [0, 1.5, 1e-45, 10**12]


def settings_of(*words):
    """The settings of all commands whose types hold one of these words."""
    return sorted(
        {
            (cls, name)
            for cls in COMMANDS
            for name, hint in setting_types(cls).items()
            if any(word in str(hint) for word in words)
        },
        key=str,
    )


def label(each):
    return getattr(each, "__name__", each)


def read(cls, *flags):
    return read_config(cls, [*COMMANDS[cls], *flags], recipe=None, prog="folio", description=None)


def tabled(cls, name, value):
    """Return the settings of a recipe with this value, and with what the command does not do without."""
    given = {"run": "x", "data": "x", "runs": "x", "text": "x", "model": "x"}
    given |= {"tokenizer": "x", "tokenizers": "x", name: value}
    known = setting_types(cls)
    given = {key: [each, each] if is_many(known.get(key)) else each for key, each in given.items()}
    return flatten(
        to_table(from_table(cls, {key: each for key, each in given.items() if key in known}, "recipe.toml"))
    )[name]


def is_many(hint):
    """Whether a setting takes several values, as a flag or as arguments without one."""
    return get_origin(get_args(hint)[0] if get_origin(hint) is Annotated else hint) is tuple


def test_every_command_is_among_these():
    assert len(cli.COMMANDS) == len(COMMANDS) - 2, "folio tokenizer is three commands"


@pytest.mark.parametrize(("cls", "name"), settings_of("int]", "int,", "float]", "float,"), ids=label)
def test_a_number_out_of_bounds_is_refused_in_one_line(cls, name):
    for value in REFUSED:
        with pytest.raises(UserError, match=name):
            tabled(cls, name, value)
    for value in REFUSED + DOUBTFUL:
        try:
            tabled(cls, name, value)
        except UserError as error:
            assert "\n" not in str(error)  # noqa: PT017  # some of these values are legal
            assert len(str(error)) < 400  # noqa: PT017


@pytest.mark.parametrize("cls", COMMANDS, ids=label)
def test_a_wrong_flag_is_refused_in_one_line_by_every_command(cls):
    known = setting_types(cls)
    name = next((name for name in ("tokens", "minutes", "seed", "threads", "head") if name in known), "zzz")
    for flags in ([f"--{name}", "abc"], [f"--{name}"], [f"--{name}="], ["--zzz", "1"], ["--zzz=1"]):
        with pytest.raises(UserError, match=name if name in flags[0] else "zzz") as caught:
            read(cls, *flags)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("cls", "name"), settings_of("Path", MAY_BE_PATH), ids=label)
def test_every_path_is_at_home_where_it_says_so_and_never_empty(cls, name, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    ending = {"png": ".png", "save": ".jsonl"}.get(name, "")
    found = tabled(cls, name, f"~/x{ending}")
    assert str(found[0] if isinstance(found, tuple) else found) == str(tmp_path / f"x{ending}")
    with pytest.raises(UserError, match=rf"{name}.*: a path is empty: name a file or a folder"):
        tabled(cls, name, "")


def test_flags_and_python_know_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert read(SFTRunConfig, "--run=~/x", "--data=~/y").output.run == tmp_path / "x"
    assert read(SFTRunConfig, "--run=~/x", "--data=~/y").data == (str(tmp_path / "y"),)
    assert read(PPORunConfig, "~/m", "--reward", "~/r.py:score=0.5").rewards.reward == (
        f"{tmp_path}/r.py:score=0.5",
    )
    assert read(PPORunConfig, "~/m").model == tmp_path / "m"
    assert PretrainRunConfig(data="~/x").data == str(tmp_path / "x")
    with pytest.raises(UserError, match="--run: a path is empty"):
        read(SFTRunConfig, "--run=")


@pytest.mark.parametrize("temperature", [1e-45, 1e-12, 0])
def test_a_tiny_temperature_takes_the_likeliest_token(temperature):
    assert SamplingConfig(temperature=temperature).is_greedy


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
