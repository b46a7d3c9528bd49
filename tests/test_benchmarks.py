"""The benchmarks: they import, explain themselves, and use no private name of folio."""

import ast
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

SCRIPTS = sorted((Path(__file__).parents[1] / "benchmarks").glob("*.py"))
NEEDS = {"grpo_speed": "trl"}
"""Peers that are no development dependency."""


def private_names(script: Path) -> set[str]:
    """Names with a leading underscore that a script imports from folio."""
    found = set()
    for node in ast.walk(ast.parse(script.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("folio"):
            found |= {name.name for name in node.names if name.name.startswith("_")}
    return found


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_no_private_names(script):
    assert private_names(script) == set()


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
        [sys.executable, "-c", code, *scripts], check=False, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("usage:") == len(scripts)
