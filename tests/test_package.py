"""What people install: the built wheel and source archive are complete."""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = (".ci", "benchmarks", "docs", "src", "tests", ".gitignore", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE",
           "Makefile", "MANIFEST.in", "README.md", "pyproject.toml")  # fmt: skip
NO_SOURCES = shutil.ignore_patterns("__pycache__", "*.egg-info")
BUILD = "import sys; from setuptools import build_meta; getattr(build_meta, sys.argv[1])(sys.argv[2])"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """The wheel and the source archive, built from a copy: the build leaves files in its folder."""
    copy, out = tmp_path_factory.mktemp("checkout"), tmp_path_factory.mktemp("dist")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=NO_SOURCES)
        else:
            shutil.copy(ROOT / name, copy / name)
    for kind in ("build_wheel", "build_sdist"):
        subprocess.run(
            [sys.executable, "-c", BUILD, kind, str(out)], cwd=copy, check=True, capture_output=True
        )
    return out


@pytest.fixture(scope="module")
def in_wheel(archives):
    (wheel,) = archives.glob("folio_gpt-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def files_below(folder):
    return {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }


def test_the_wheel_has_every_file_of_the_package(in_wheel):
    package = {name.removeprefix("src/") for name in files_below("src/folio")}
    assert package <= in_wheel
    for name in ("py.typed", "recipes/shakespeare/pretrain.toml", "recipes/shakespeare/rubric.py",
                 "recipes/plays/pretrain.reference.json", "recipes/english/gold/ppo.toml",
                 "lecture/pages/01-bigram.md", "lecture/pages/01-bigram.quiz.toml", "lecture/pages/ladder.png"):  # fmt: skip
        assert f"folio/{name}" in in_wheel, name


def test_the_wheel_has_nothing_else(in_wheel):
    others = {name.split("/")[0] for name in in_wheel} - {"folio"}
    assert all(name.startswith("folio_gpt-") and name.endswith(".dist-info") for name in others)
    assert any(name.endswith("licenses/LICENSE") for name in in_wheel)


def test_the_source_archive_has_tests_docs_and_benchmarks(archives):
    (source,) = archives.glob("folio_gpt-*.tar.gz")
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    expected = set().union(*map(files_below, ("src/folio", "tests", "docs", "benchmarks")))
    expected |= {
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "LICENSE",
        "Makefile",
        "README.md",
        "pyproject.toml",
        ".ci/run",
    }
    assert expected - names == set()


def test_an_installed_package_needs_no_checkout(archives, tmp_path):
    """The wheel as it lies in site-packages, with the dependencies of this Python."""
    (wheel,) = archives.glob("folio_gpt-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "words.txt").write_text("the cat sat on the mat\n" * 100)
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path / "site")!r})
import folio
assert folio.__file__.startswith({str(tmp_path)!r}), folio.__file__
from folio import cli
from folio.rl.functions import load_function
from folio.runs.recipes import find_recipe_file, known_recipes
assert "shakespeare" in known_recipes("pretrain")
assert load_function(find_recipe_file("arithmetic/checker.py:score"))("1+1", "2") == 1.0
sys.exit(cli.main(["pretrain", "shakespeare", "--data", {str(tmp_path / "words.txt")!r}, "--steps", "2",
    "--n-layer", "1", "--n-head", "1", "--n-embd", "8", "--block-size", "16", "--device", "cpu",
    "--compile", "off", "--prompt", "the cat"]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path / "elsewhere", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "elsewhere" / "runs" / "words" / "best" / "model.safetensors").exists()
