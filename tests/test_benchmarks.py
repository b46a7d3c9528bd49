"""The benchmarks: they import, explain themselves, and use no private name of folio."""

import ast
import importlib.util
import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SOURCES = sorted(BENCHMARKS.rglob("*.py"))
SCRIPTS = sorted([*BENCHMARKS.glob("*.py"), *(path.parent for path in BENCHMARKS.glob("*/__main__.py"))])
NEEDS = {"grpo_speed": "trl"}
"""Peers that are no development dependency."""
ELSEWHERE = {"recipe_times"}
"""Scripts whose figures are kept beside a recipe."""


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def private_names(source: str) -> set[str]:
    """Private names of folio that a script imports or reaches for.

    An attribute belongs to folio, or to an object of its, unless it is the script's own (`self._x`) or stands behind
    the name of another package (`torch._dynamo`).
    """
    tree = ast.parse(source)
    found, others = set(), {"self", "cls"}
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                for each in names:
                    if each.name.split(".")[0] == "folio":
                        found |= set(filter(is_private, each.name.split(".")))
                    else:
                        others.add(each.asname or each.name.split(".")[0])
            case ast.ImportFrom(module=str(module), names=names) if module.split(".")[0] == "folio":
                parts = [*module.split("."), *(each.name for each in names)]
                found |= set(filter(is_private, parts))
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            owner = node.value
            while isinstance(owner, ast.Attribute):
                owner = owner.value
            if not (isinstance(owner, ast.Name) and owner.id in others):
                found.add(node.attr)
    return found


@pytest.mark.parametrize("script", SOURCES, ids=lambda script: script.stem)
def test_no_private_names(script):
    assert private_names(script.read_text(encoding="utf-8")) == set()


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from folio.stages import _inner", {"_inner"}),
        ("from folio._inner import name", {"_inner"}),
        ("import folio._inner", {"_inner"}),
        ("import folio.x\nfolio.x._inner()", {"_inner"}),
        ("def f(model):\n    return model._inner", {"_inner"}),
        ("def f(models):\n    models[0]._inner = 1", {"_inner"}),
        ("import torch._dynamo\ntorch._dynamo.reset()", set()),
        ("from folio import GPT\nGPT.__init__", set()),
        ("class A:\n    def f(self):\n        return self._own", set()),
    ],
)
def test_what_a_private_name_is(source, found):
    assert private_names(source) == found


def test_every_script_has_its_figures_and_all_figures_have_a_script():
    stems = [script.stem for script in SCRIPTS if script.stem not in ELSEWHERE]
    assert [path.stem for path in sorted(BENCHMARKS.glob("*.json"))] == stems


def test_measurements_say_where_and_how_they_were_made():
    found = [json.loads(path.read_text(encoding="utf-8")) for path in BENCHMARKS.glob("*_speed.json")]
    for measurement in (each for measurements in found for each in measurements):
        assert {"folio", "date", "machine", "threads", "command", "rows"} <= measurement.keys()


def test_a_measurement_is_added_to_those_before(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("measurements", BENCHMARKS / "support" / "measurements.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(sys, "argv", ["x.py", "--write", "--rounds", "2"])
    for speed in (1, 2):
        module.add_measurement(tmp_path / "x.py", [{"speed": speed}])
    first, second = json.loads((tmp_path / "x.json").read_text(encoding="utf-8"))
    assert [first["rows"], second["rows"]] == [[{"speed": 1}], [{"speed": 2}]]
    assert second["command"] == "python benchmarks/x.py --rounds 2"


def test_every_script_has_help():
    """In one process: each would import torch anew."""
    scripts = [str(path) for path in SCRIPTS if find_spec(NEEDS.get(path.stem, "folio"))]
    code = (
        "import runpy, sys\n"
        "for script in sys.argv[1:]:\n"
        "    sys.argv = [script, '--help']\n"
        "    try:\n"
        "        runpy.run_path(script, run_name='__main__')\n"
        "    except SystemExit as done:\n"
        "        assert not done.code, (script, done.code)\n"
        "    else:\n"
        "        raise AssertionError(f'{script} ran')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *scripts],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join((str(BENCHMARKS), os.environ.get("PYTHONPATH", ""))),
        },
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("usage:") == len(scripts)
