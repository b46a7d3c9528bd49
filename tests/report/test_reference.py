"""Is my curve normal?"""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from folio.config import from_table, read_recipe, to_table
from folio.errors import UserError
from folio.report.reference import MARGIN, Reference, reference_of, verdict_of
from folio.runs.recipes import find_recipes
from folio.stages.pretrain import PretrainRunConfig
from folio.training.plan import Plan

REFERENCE = Reference(
    hardware="two cores",
    text_sha256="abc",
    plan={"steps": 3},
    shares=[0.5, 1.0],
    losses=[[2.0, 2.1, 2.2], [1.4, 1.5, 1.45]],
    landmarks={"the lecture": 1.48},
)


def test_the_band_is_where_the_measured_runs_were_with_a_margin():
    assert REFERENCE.band(1.0) == pytest.approx((1.4 - MARGIN, 1.5 + MARGIN))
    assert REFERENCE.band(0.505) == pytest.approx((2.0 - MARGIN, 2.2 + MARGIN))
    assert REFERENCE.band(0.75) is None


@pytest.mark.parametrize(
    ("curve", "words"),
    [
        ([(0.5, 2.1), (1.0, 1.5 + 0.5 * MARGIN)], "Your curve is normal: 1.5100 at the end, where 1.4000 to 1.5000 was"),
        ([(0.5, 2.1), (1.0, 1.7)], "Your curve is not normal: 1.7000 at the end.*left the band at 100%"),
        ([(0.5, 3.0), (1.0, 1.7)], "Your curve is not normal: 1.7000 at the end.*left the band at 50%"),
        ([(0.5, 2.1), (1.0, 1.2)], "Your curve is better than the measured ones: 1.2000 at the end"),
        ([(0.5, 3.0), (1.0, 1.45)], "Your curve ends normally.*after leaving the band at 50%"),
        ([(0.5, 1.0), (1.0, 1.45)], "Your curve ends normally.*after leaving the band at 50%"),
        ([(0.1, 1.0), (0.5, 2.1), (0.7, 9.0)], "Your curve is normal: 2.1000 at 50% of the run, where 2.0000 to 2.2000"),
        ([(0.3, 1.0)], "No evaluation of this run can be compared"),
        ([], "No evaluation of this run can be compared"),
    ],
)  # fmt: skip
def test_the_verdict(curve, words):
    verdict = REFERENCE.verdict(curve)
    assert re.match(words, verdict)


def test_a_curve_that_came_back_before_the_end_is_normal_again():
    early = replace(REFERENCE, shares=[0.2, 0.5], losses=[[2.5], [2.0]])
    verdict = early.verdict([(0.2, 3.0), (0.5, 2.0)])
    assert "Your curve is normal again (2.0000 at 50% of the run" in verdict


def test_the_verdict_on_a_run_is_by_its_files(tmp_path):
    (tmp_path / "pretrain.reference.json").write_text(json.dumps(vars(REFERENCE)))
    info = {"recipe": str(tmp_path / "pretrain.toml"), "data_sha256": "abc", "plan": {"steps": 3}}
    records = [{"step": 1, "loss": 4.0}, {"step": 3, "loss": 1.5, "val_loss": 1.45}]
    assert "is normal: 1.4500 at the end" in verdict_of(info, records)
    assert (
        verdict_of({**info, "data_sha256": "b"}, records)
        == "none: the recipe's measured runs had another text"
    )
    assert verdict_of({**info, "recipe": None}, records) is None
    assert verdict_of({**info, "recipe": str(tmp_path / "elsewhere" / "pretrain.toml")}, records) is None


def test_a_recipe_that_is_gone_is_the_packaged_one_of_its_name():
    info = {"recipe": "/an/older/folio/recipes/shakespeare/pretrain.toml", "data_sha256": "", "plan": {}}
    assert reference_of(info) == Reference.beside(find_recipes(Path("shakespeare")) / "pretrain.toml")
    assert reference_of({**info, "recipe": "/mine/pretrain.toml"}) is None
    assert reference_of({**info, "recipe": None}) is None


def test_a_reference_lies_beside_its_recipe(tmp_path):
    recipe = tmp_path / "pretrain.toml"
    assert Reference.beside(recipe) is None
    (tmp_path / "pretrain.reference.json").write_text(json.dumps(vars(REFERENCE)))
    assert Reference.beside(recipe) == REFERENCE


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        b"\xff",
        json.dumps(vars(REFERENCE) | {"more": 1}),
        json.dumps(vars(REFERENCE) | {"shares": [0.5]}),
        json.dumps(vars(REFERENCE) | {"losses": [[1.0], []]}),
    ],
)
def test_a_broken_reference_is_an_error(tmp_path, content):
    path = tmp_path / "pretrain.reference.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=r"pretrain\.reference\.json .*not a reference"):
        Reference.beside(tmp_path / "pretrain.toml")


def test_only_runs_of_the_same_text_and_sizes_are_compared():
    assert REFERENCE.mismatch({"data_sha256": "abc", "plan": {"steps": 3}}) is None
    assert REFERENCE.mismatch({"data_sha256": "abd", "plan": {"steps": 3}}) == "another text"
    assert "number of steps" in REFERENCE.mismatch({"data_sha256": "abc", "plan": {"steps": 4}})


@pytest.mark.parametrize("name", ["plays", "shakespeare"])
def test_a_recipes_reference_is_of_plans_as_runs_write_them(name):
    recipe = find_recipes(Path(name)) / "pretrain.toml"
    reference = Reference.beside(recipe)
    plan = from_table(Plan, reference.plan, "reference")
    assert to_table(plan) == reference.plan
    assert plan.steps == read_recipe(PretrainRunConfig, recipe).size.steps
