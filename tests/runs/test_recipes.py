"""Where a recipe and its files are found: in the current folder, or in the package."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from folio.config import PACKAGED_RECIPES, read_recipe
from folio.rl.functions import load_function
from folio.runs.recipes import find_recipe_file, find_recipes, known_recipes, packaged_recipes, take_recipe


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@dataclass(frozen=True, kw_only=True)
class Settings:
    judge: str = ""
    reward: tuple[str, ...] = ()
    gold: tuple[str, ...] = ()
    prompt: str = ""


def make_recipe(folder: Path, text: str = "", stage: str = "ppo") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{stage}.toml").write_text(text)
    return folder / f"{stage}.toml"


def test_a_name_means_a_packaged_recipe():
    recipe, flags = take_recipe("ppo", ["plays", "--seed", "2"])
    assert recipe == PACKAGED_RECIPES / "plays" / "ppo.toml"
    assert flags == ["--seed", "2"]
    assert take_recipe("reward", ["english/gold"])[0] == PACKAGED_RECIPES / "english" / "gold" / "reward.toml"
    assert find_recipes(Path("arithmetic")) == PACKAGED_RECIPES / "arithmetic"


def test_what_is_no_recipe_is_left_to_the_stage():
    assert take_recipe("ppo", ["runs/mine", "--seed", "2"]) == (None, ["runs/mine", "--seed", "2"])
    assert take_recipe("grpo", ["plays"])[0] is None
    assert take_recipe("ppo", ["--seed", "2"])[0] is None
    assert take_recipe("ppo", [])[0] is None
    assert find_recipes(Path("../recipes")) == Path("../recipes")


def test_a_path_of_ones_own_comes_first():
    own = make_recipe(Path("shakespeare"))
    assert take_recipe("ppo", ["shakespeare"])[0] == own
    assert take_recipe("ppo", ["shakespeare/ppo.toml"])[0] == own
    assert take_recipe("sft", ["shakespeare"])[0] is None  # perhaps a model: never another folder's recipe


def test_a_file_beside_a_recipe_is_named_from_the_current_folder():
    recipe = make_recipe(
        Path("mine"),
        'judge = "rules.py:score"\nreward = ["rules.py:score=0.5", "runs/model=2", "other.py:score"]\n'
        'gold = ["rules.py"]\nprompt = "rules.py"\n',
    )
    (recipe.parent / "rules.py").write_text("")
    (recipe.parent / "runs" / "model").mkdir(parents=True)
    settings = read_recipe(Settings, recipe)
    assert settings.judge == "mine/rules.py:score"
    assert settings.reward == ("mine/rules.py:score=0.5", "runs/model=2", "other.py:score")
    assert settings.gold == ("mine/rules.py",)
    assert settings.prompt == "rules.py"


def test_a_setting_of_the_wrong_type_is_still_told(tmp_path):
    from folio.errors import UserError

    with pytest.raises(UserError, match="judge is 3"):
        read_recipe(Settings, make_recipe(tmp_path, "judge = 3"))


def test_a_file_of_a_packaged_recipe_has_the_same_name_on_every_machine():
    spec = "arithmetic/checker.py:score"
    assert find_recipe_file(spec) == f"{PACKAGED_RECIPES / 'arithmetic' / 'checker.py'}:score"
    assert load_function(find_recipe_file(spec))("1+1", "2") == 1.0
    assert find_recipe_file("mine.py:score") == "mine.py:score"
    assert find_recipe_file("mine.py") == "mine.py"


def test_a_copied_recipe_uses_its_own_files():
    shutil.copytree(PACKAGED_RECIPES / "arithmetic", "arithmetic")
    assert find_recipe_file("arithmetic/checker.py:score") == "arithmetic/checker.py:score"
    assert take_recipe("grpo", ["arithmetic"])[0] == Path("arithmetic/grpo.toml")


def test_the_known_recipes_are_packaged_and_ones_own():
    make_recipe(Path("recipes/one"), stage="pretrain")
    assert set(packaged_recipes("*")) == {
        *["arithmetic", "english", "english/gold", "math", "plays", "shakespeare", "text"]
    }
    assert (
        known_recipes("pretrain") == f"arithmetic, english, plays, shakespeare, text, {Path('recipes/one')}"
    )


def test_a_recipe_is_found_at_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "mine").mkdir()
    recipe = tmp_path / "mine" / "sft.toml"
    recipe.write_text("")
    assert take_recipe("sft", ["~/mine", "--epochs", "1"]) == (recipe, ["--epochs", "1"])
