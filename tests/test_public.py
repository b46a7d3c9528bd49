"""The public package: its names, its types, and its tutorial."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import folio

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "python.md"
SESSION = "\n".join(
    re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
)
STUB = ROOT / "src" / "folio" / "__init__.pyi"


def run(code: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
        cwd=cwd,
    )


def test_every_public_name_is_there():
    stub = STUB.read_text(encoding="utf-8")
    listed = re.findall(r'^    "(\w+)",$', stub, re.MULTILINE)
    assert sorted(folio.__all__) == sorted(listed)
    for name in folio.__all__:
        assert getattr(folio, name) is not None
        assert name in dir(folio)


def test_every_public_name_is_documented_and_has_a_docstring():
    page = PAGE.read_text(encoding="utf-8")
    for name in folio.__all__:
        assert f"`{name}`" in page, name
        assert getattr(folio, name).__doc__, name


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError):
        folio.nothing  # noqa: B018


def test_importing_is_quick_because_it_imports_nothing(tmp_path):
    code = "import sys, folio; print([m for m in ('torch', 'numpy', 'rich', 'tyro') if m in sys.modules])"
    assert run(code, tmp_path).stdout == "[]\n"


@pytest.mark.slow
def test_the_tutorial_runs_in_another_folder(tmp_path):
    done = run(SESSION, tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "sft: unknown key epoch. Did you mean epochs?" in done.stdout
    assert "sft: unknown key epoch. Did you mean epochs?" in PAGE.read_text(encoding="utf-8")
    assert {path.name for path in tmp_path.iterdir()} == {"shakespeare"}, "only what it names is written"


@pytest.mark.slow
def test_the_tutorial_passes_mypy_strict(tmp_path):
    script = tmp_path / "tutorial.py"
    script.write_text(SESSION, encoding="utf-8")
    done = subprocess.run(  # in the checkout, whose settings are strict, and whose cache knows torch
        [sys.executable, "-m", "mypy", str(script)],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout[-3000:]
