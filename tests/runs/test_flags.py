"""Flags: settings from defaults, a recipe and the command line, and what is said of mistakes."""

from pathlib import Path

import pytest
from example_settings import Part, Whole

from folio.errors import UserError
from folio.runs.flags import read_config

RECIPE = 'name = "me"\nfast = true\ncount = 3\n[part]\nsteps = 7\nrate = 2\nkind = "square"\n'


def read(arguments: list[str], recipe: Path | None = None) -> Whole:
    return read_config(Whole, arguments, recipe=recipe, prog="test", description="")


def test_flags_come_before_the_recipe_and_the_recipe_before_defaults(tmp_path):
    recipe = tmp_path / "r.toml"
    recipe.write_text(RECIPE)
    assert read([]) == Whole()
    assert read(["--fast"]).fast
    assert read(["--count", "5", "--steps", "2"]) == Whole(count=5, part=Part(steps=2))
    config = read(["--count", "5", "--kind", "round", "--no-fast"], recipe)
    assert config == Whole(name="me", count=5, part=Part(steps=7, rate=2.0, kind="round"))
    assert read(["--tags", "c", "d"]) == Whole(tags=("c", "d"))


def test_a_flags_value_is_checked_by_the_dataclass():
    with pytest.raises(UserError, match="count is -1"):
        read(["--count", "-1"])


@pytest.mark.parametrize(
    "arguments", [["--nmae", "x"], ["--count", "x"], ["--count"], ["--kind", "flat"], ["stray"]]
)
def test_wrong_usage_is_told_in_one_line(arguments, capsys):
    with pytest.raises(UserError) as caught:
        read(arguments)
    assert "\n" not in str(caught.value)
    assert "│" not in str(caught.value)
    assert capsys.readouterr() == ("", "")
