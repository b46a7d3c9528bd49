"""One test file for each source file, in the same place."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE, TESTS = ROOT / "src" / "folio", ROOT / "tests"
SOURCES = sorted(
    path.relative_to(PACKAGE)
    for path in PACKAGE.rglob("*.py")
    if path.name not in ("__init__.py", "__main__.py")
)
COVERED_BY = {
    "data/material.py": "data/test_instructions.py",
    "data/skills.py": "data/test_instructions.py",
    "lecture/ladder.py": "lecture/test_rungs.py",
    "model/architectures.py": "model/test_directory.py",
    "model/unused_settings.py": "model/test_architecture.py",
    "report/ladder.py": "commands/test_ladder.py",
    "report/overoptimization.py": "report/test_rl_figure.py",
    "report/policy.py": "stages/test_policy.py",
    "report/preferences.py": "stages/test_reward.py",
    "report/reading.py": "commands/test_explain.py",
    "report/reading_figure.py": "commands/test_explain.py",
    "report/reading_inside.py": "commands/test_explain.py",
    "report/reading_terminal.py": "commands/test_explain.py",
    "report/rl_history.py": "report/test_rl_figure.py",
    "report/sft.py": "stages/test_sft.py",
    "report/shards.py": "commands/test_tokenize.py",
    "runs/reward_worker.py": "runs/test_worker.py",
    "stages/grpo.py": "stages/test_policy.py",
    "stages/ppo.py": "stages/test_policy.py",
    "stages/preferences.py": "stages/test_reward.py",
    "tokenizer/special_tokens.py": "tokenizer/test_char.py",
}
"""Files that are tested through another one's tests: commands and reports as a user sees them, tables by what uses them."""
ABOUT_MANY = {
    *(
        "test_benchmarks.py",
        "test_docs.py",
        "test_lecture_figures.py",
        "test_lecture_pages.py",
        "test_package.py",
        "test_portability.py",
    ),
    *("test_public.py", "test_settings.py", "test_structure.py"),
    "commands/test_compare.py",
    *("lecture/test_bridge.py", "lecture/test_rungs.py", "objectives/test_invariants.py"),
    *(f"server/test_page_{name}.py" for name in ("learn_view", "prefer_view", "runs_view", "views", "whole")),
    "server/test_vendored.py",
    *("stages/test_mistakes.py", "stages/test_pretrain_bpe.py", "stages/test_public_data.py"),
}
"""Test files about several source files at once."""


def mirrored(source: Path) -> Path:
    return source.parent / f"test_{source.name}"


@pytest.mark.parametrize("source", SOURCES, ids=str)
def test_every_source_file_has_its_tests(source):
    if source.parts[0] == "recipes":  # scripts of a recipe, tested by tests/recipes
        return
    covered = COVERED_BY.get(source.as_posix())
    assert (TESTS / mirrored(source)).exists() != bool(covered), (
        "either its own test file or another's, not both"
    )
    if covered:
        assert names_module((TESTS / covered).read_text(encoding="utf-8"), source)


def names_module(test: str, source: Path) -> bool:
    """Whether a test file imports a module, or says its name."""
    module = ".".join(("folio", *source.with_suffix("").parts))
    package, _, name = module.rpartition(".")
    return bool(
        re.search(rf"\b{re.escape(module)}\b", test)
        or re.search(rf"^from {re.escape(package)} import .*\b{name}\b", test, re.MULTILINE)
    )


def test_every_test_file_has_its_source():
    sources = {mirrored(source).as_posix() for source in SOURCES}
    tests = {path.relative_to(TESTS).as_posix() for path in TESTS.rglob("test_*.py")}
    recipes = {name for name in tests if name.startswith("recipes/")}
    assert tests - sources - recipes == ABOUT_MANY


def test_files_are_short():
    long = [
        source.as_posix()
        for source in SOURCES
        if len((PACKAGE / source).read_text(encoding="utf-8").splitlines()) > 400
    ]
    assert long == []


def test_library_code_neither_prints_nor_exits():
    """Below stages/ nothing writes to the terminal but through a console that it is given."""
    loud = re.compile(r"^\s*(print\(|sys\.exit|exit\()", re.MULTILINE)
    library = ("training", "inference", "objectives", "data", "model", "tokenizer", "evaluation", "rl")
    found = [
        source.as_posix()
        for source in SOURCES
        if source.parts[0] in library and loud.search((PACKAGE / source).read_text(encoding="utf-8"))
    ]
    assert found == []
