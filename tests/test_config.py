"""Settings: a dataclass from a recipe or a table, and what is said of mistakes in it."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from example_settings import Part, Whole

from folio.commands.label import LabelConfig
from folio.config import PACKAGED_RECIPES, from_table, read_recipe, to_table
from folio.errors import UserError
from folio.stages.dpo import DPORunConfig
from folio.stages.grpo import GRPORunConfig
from folio.stages.ppo import PPORunConfig
from folio.stages.pretrain import PretrainRunConfig
from folio.stages.reward import RewardRunConfig
from folio.stages.sft import SFTRunConfig

CONFIGS = {
    "pretrain": PretrainRunConfig,
    "sft": SFTRunConfig,
    "label": LabelConfig,
    "reward": RewardRunConfig,
    "dpo": DPORunConfig,
    "ppo": PPORunConfig,
    "grpo": GRPORunConfig,
}
RECIPES = sorted(PACKAGED_RECIPES.glob("**/*.toml"))


@dataclass(frozen=True, kw_only=True)
class Needy:
    name: str


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


FULL = 'name = "me"\nplace = "a/b"\nfast = true\ncount = 3\n[part]\nsteps = 7\nrate = 2\nkind = "square"\n'


def test_a_recipe_becomes_a_dataclass(tmp_path):
    config = read_recipe(Whole, write(tmp_path / "r.toml", FULL))
    part = Part(steps=7, rate=2.0, kind="square")
    assert config == Whole(name="me", place=Path("a/b"), fast=True, count=3, part=part)
    assert isinstance(config.part.rate, float)
    assert isinstance(config.place, Path)


def test_a_list_becomes_a_tuple_and_comes_back(tmp_path):
    config = read_recipe(Whole, write(tmp_path / "r.toml", 'tags = ["a", "b"]'))
    assert config == Whole(tags=("a", "b"))
    assert from_table(Whole, json.loads(json.dumps(to_table(config))), "run.json") == config


def test_what_a_recipe_leaves_out_is_the_default(tmp_path):
    assert read_recipe(Whole, write(tmp_path / "r.toml", "")) == Whole()
    assert read_recipe(Whole, write(tmp_path / "r.toml", "[part]\nsteps = 1\n")) == Whole(part=Part(steps=1))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nmae = 'x'", r"unknown key nmae\. Did you mean name\?"),
        ("zzz = 1", r"unknown key zzz\. Known: name, place, fast, count, tags, pair, data, steps"),
        ("[part]\nratte = 1", r"unknown key part\.ratte\. Did you mean part\.rate\?"),
        ("name = 5", "name is 5; it must be of type str"),
        ("count = 1.5", "count is 1.5; it must be of type int"),
        ("count = '1'", "count is '1'; it must be of type int"),
        ("count = true", "count is True; it must be of type int"),
        ("fast = 1", "fast is 1; it must be of type bool"),
        ("place = 1", "place is 1; it must be of type Path"),
        ("name = ['x']", r"name is \['x'\]; it must be of type str"),
        ("name = {a = 1}", r"name is \{'a': 1\}; it must be of type str"),
        ("part = 3", r"part must be a table, \[part\]"),
        ("part = [1]", r"part must be a table, \[part\]"),
        ("[part]\nsteps = 1.0", r"part\.steps is 1\.0; it must be of type int"),
        ("[part]\nsteps = true", r"part\.steps is True; it must be of type int"),
        ("[part]\nrate = true", r"part\.rate is True; it must be of type float"),
        ("[part]\nrate = '1'", r"part\.rate is '1'; it must be of type float"),
        ("[part]\nkind = 'flat'", r"part\.kind is 'flat'; it can be 'round', 'square'"),
        ("[part]\nkind = 1", r"part\.kind is 1; it can be 'round', 'square'"),
        ("tags = 1", "tags, item 1 is 1; it must be of type str"),
        ("pair = 0.5", r"pair is 0\.5; it must be a list"),
        ("tags = ['a', 1]", "tags, item 2 is 1; it must be of type str"),
        ("count = -1", "count is -1: it must be at least 0"),
        ("count = ", "cannot be read"),
        ("count = 1\ncount = 2", "cannot be read"),
        (b"name = '\xff'", "cannot be read"),
        ("count = " + "[" * 100_000, "nested too deeply"),
        ("count = " + "9" * 5000, "cannot be read"),
        (
            "count = 0x" + "f" * 5000,
            "count is a number of thousands of digits: it must be at least 0 and at most",
        ),
        ("[part]\nrate = 1" + "0" * 400, r"part\.rate: int too large to convert to float"),
        ("place = ''", "place: a path is empty: name a file or a folder"),
        ("pair = [0.5]", r"pair is \[0\.5\]; it must be a list of 2"),
        ("pair = [0.5, 7]", r"pair is 7\.0: it must be at least 0 and at most 1"),
        (f"name = {list(range(1000))}", r"name is \[0, 1, .* \.\.\.; it must be of type str"),
    ],
)
def test_a_mistake_in_a_recipe_is_named_with_file_and_key(tmp_path, text, message):
    path = write(tmp_path / "wrong.toml", text)
    with pytest.raises(UserError, match=message) as caught:
        read_recipe(Whole, path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_recipe_that_is_not_there_or_is_a_folder(tmp_path):
    with pytest.raises(UserError, match="no such recipe"):
        read_recipe(Whole, tmp_path / "absent.toml")
    with pytest.raises(UserError, match="cannot be read"):
        read_recipe(Whole, tmp_path)


def test_what_is_not_given_may_come_from_another_config_than_the_default():
    base = Whole(name="me", part=Part(steps=1, rate=3.0))
    assert from_table(Whole, {"steps": 2, "count": 4}, "here", base) == Whole(
        name="me", count=4, part=Part(steps=2, rate=3.0)
    )
    with pytest.raises(UserError, match="here: config is a Part: it must be a Whole"):
        from_table(Whole, {}, "here", Part())


def test_what_has_no_default_must_be_there():
    with pytest.raises(UserError, match="where: name is missing"):
        from_table(Needy, {}, "where")


def test_a_table_reads_back():
    config = Whole(name="é", place=Path("x"), part=Part(rate=0.1))
    assert from_table(Whole, to_table(config), "here") == config
    assert to_table(Whole())["place"] is None


def test_the_defaults_of_pretraining_read_back():
    config = PretrainRunConfig()
    assert from_table(PretrainRunConfig, to_table(config), "here") == config


def test_there_are_recipes():
    assert RECIPES


@pytest.mark.parametrize("recipe", RECIPES, ids=str)
def test_every_recipe_loads(recipe):
    config = CONFIGS[recipe.stem]
    assert isinstance(read_recipe(config, recipe), config)


@dataclass(frozen=True, kw_only=True)
class Listing:
    words: tuple[str, ...] = ("one",)
    rates: tuple[float, ...] = ()


def test_a_list_is_a_tuple_and_comes_back(tmp_path):
    config = read_recipe(Listing, write(tmp_path / "r.toml", 'words = ["a", "b"]\nrates = [1, 0.5]\n'))
    assert config == Listing(words=("a", "b"), rates=(1.0, 0.5))
    assert from_table(Listing, json.loads(json.dumps(to_table(config))), "it") == config


def test_one_value_is_a_list_of_one(tmp_path):
    assert read_recipe(Listing, write(tmp_path / "r.toml", 'words = "abc"\n')).words == ("abc",)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("words = 2", "words, item 1 is 2; it must be of type str"),
        ("words = [1]", "words, item 1 is 1; it must be of type str"),
    ],
)
def test_what_is_no_list_is_told(tmp_path, text, told):
    with pytest.raises(UserError, match=told):
        read_recipe(Listing, write(tmp_path / "r.toml", text))
