"""What the documentation names exists, and what its sessions show is so.

The conventions of the pages: a file is named from the checkout or from src/folio; `training/loop.py: fit` is a name
in a file, `folio.training.loop.fit` the same with dots; <name> and CAPITALS are for the reader to fill in.
"""

import ast
import doctest
import importlib
import re
import shlex
import tomllib
import xml.etree.ElementTree as ET
from contextlib import redirect_stdout
from functools import cache
from io import StringIO
from pathlib import Path
from types import ModuleType

import pytest
from cogapp import Cog

from folio.cli import COMMANDS, find_command
from folio.data.corpora import KNOWN_CORPORA, data_folders
from folio.runs.recipes import packaged_recipes

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "folio"
PAGES = [
    *ROOT.glob("README.md"),
    *sorted(ROOT.glob("benchmarks/*.md")),
    *ROOT.glob("CONTRIBUTING.md"),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted(PACKAGE.rglob("*.md")),
]
FILE_SUFFIXES = {".py", ".md", ".toml", ".svg", ".png", ".json", ".jsonl", ".safetensors"}
RECIPE_COMMANDS = ("run", "pretrain", "sft", "label", "reward", "dpo", "ppo", "grpo")
FLAG = re.compile(r"--[a-z][\w-]*")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def spans(page: Path) -> list[str]:
    """What stands in backticks."""
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose(page))]


def fences(page: Path) -> list[tuple[str, str]]:
    """Language and text of the fenced blocks."""
    return FENCE.findall(page.read_text(encoding="utf-8"))


@cache
def literals() -> frozenset[str]:
    """The strings in the source, but for docstrings."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in PACKAGE.rglob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    return frozenset(
        node.value
        for node in nodes
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings
    )


def file_named(name: str) -> Path | None:
    return next((path for path in (PACKAGE / name, ROOT / name) if path.exists()), None)


def is_file_name(span: str) -> bool:
    if not re.fullmatch(r"[\w./<>-]+", span) or span.startswith("-"):
        return False
    first = span.split("/", maxsplit=1)[0]
    return Path(span).suffix in FILE_SUFFIXES or ("/" in span and file_named(first) is not None)


def is_known(name: str) -> bool:
    """A file of the checkout, or one that folio writes and that the source therefore names."""
    fixed = name.split("<", maxsplit=1)[0].rstrip("/")
    return file_named(fixed) is not None or all(is_written(part) for part in fixed.split("/"))


def is_written(part: str) -> bool:
    """Whether a string in the source is that part of a path, or a path that ends with it."""
    return any(literal == part or literal.endswith(f"/{part}") for literal in literals())


@each_page
def test_files_exist(page):
    named = [span.partition(": ")[0] for span in spans(page)]
    assert [name for name in named if is_file_name(name) and not is_known(name)] == []


@each_page
def test_code_and_figures_are_those_of_now(page):
    """Where this fails, `make docs` fills them in again."""
    given = ["cog", "--check", "-P", "-I", str(ROOT / "docs"), "-p", "from fill import *", str(page)]
    assert Cog().main(given) == 0


@each_page
def test_links_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"", prose(page))
    local = [target for pair in targets for target in pair if target and "://" not in target]
    assert [target for target in local if not (page.parent / target.split("#")[0]).exists()] == []


def has_name(module: ModuleType, dotted: str) -> bool:
    """Whether a name, of a field without a default too, is defined in a module."""
    value = module
    for part in dotted.split("."):
        if not hasattr(value, part):
            return part in getattr(value, "__dataclass_fields__", {})
        value = getattr(value, part)
    return True


def has_dotted_name(dotted: str) -> bool:
    parts = dotted.split(".")
    for n in range(len(parts), 0, -1):
        try:
            module = importlib.import_module(".".join(parts[:n]))
        except ModuleNotFoundError:
            continue
        return n == len(parts) or has_name(module, ".".join(parts[n:]))
    return False


def is_code_name(span: str) -> bool:
    """`training/loop.py: fit`, or a dotted name that begins with folio, a part of it, or torch."""
    if re.fullmatch(r"[\w/]+\.py: .+", span):
        return True
    if not re.fullmatch(r"\w+(\.\w+)+(\(.*\))?", span) or is_file_name(span):
        return False
    first = span.split(".", maxsplit=1)[0]
    return first in ("folio", "torch") or (PACKAGE / first).is_dir() or (PACKAGE / f"{first}.py").exists()


def code_exists(span: str) -> bool:
    name = span.split("(", maxsplit=1)[0]
    path, colon, names = name.partition(".py: ")
    if not colon:
        return has_dotted_name(name if name.startswith(("folio.", "torch.")) else f"folio.{name}")
    if (PACKAGE / f"{path}.py").exists():
        module = importlib.import_module("folio." + path.replace("/", "."))
        return all(has_name(module, each) for each in names.split(", "))
    text = (ROOT / f"{path}.py").read_text(encoding="utf-8")  # scripts and tests: not to be imported
    return all(re.search(rf"^(def|class) {each}\b|^{each}\b.* = ", text, re.M) for each in names.split(", "))


@each_page
def test_code_exists(page):
    assert [span for span in spans(page) if is_code_name(span) and not code_exists(span)] == []


def commands(page: Path) -> list[list[str]]:
    """The words of each command of make, folio, or Python on a script, in a block or in backticks."""
    lines = [
        line.removeprefix("$ ")
        for kind, text in fences(page)
        if kind != "python"
        for line in text.split("\n")
    ]
    found = []
    for line in (*lines, *spans(page)):
        for part in re.split(r"&&|;|\|", line.split(" #")[0].strip()):
            try:
                words = [word for word in shlex.split(part) if not re.match(r"[A-Z_]+=", word)]
            except ValueError:  # an unmatched quote: prose
                continue
            if words and re.search(r"(^|/)(make|folio|python3?)$", words[0]):
                found.append(words)
    return found


def is_placeholder(word: str) -> bool:
    return word.isupper() or word.startswith(("<", "["))


@each_page
def test_make_targets_exist(page):
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    named = [word for words in commands(page) if words[0] == "make" for word in words[1:]]
    assert [word for word in named if word not in targets and not is_placeholder(word)] == []


@cache
def flags_of(command: str) -> frozenset[str]:
    """What `folio COMMAND --help` offers."""
    text = StringIO()
    with redirect_stdout(text), pytest.raises(SystemExit):
        find_command([command])(["--help"])
    return frozenset(FLAG.findall(text.getvalue()))


def unknown_words(words: list[str]) -> list[str]:
    """What a line names and there is not: a command of folio's, a recipe, a script for Python, their flags."""
    if words[:3] == ["python", "-m", "folio"]:
        words = words[2:]
    flags = [flag for word in words if (flag := word.split("=")[0]).startswith("--")]
    if words[0].endswith("folio"):
        command = next(iter(words[1:]), "--help")
        if command in COMMANDS:
            strange = [words[2]] if command in RECIPE_COMMANDS and not is_start(words[2:]) else []
            return strange + [flag for flag in flags if flag not in flags_of(command)]
        return [] if is_placeholder(command) or command in ("--help", "--version", "-h", "-V") else [command]
    if (
        words[0].startswith("python")
        and words[1:]
        and words[1].endswith(".py")
        and not is_placeholder(words[1])
    ):
        script = ROOT / words[1]
        return flags_not_in(script, flags) if script.exists() else [words[1]]
    return []


def is_start(words: list[str]) -> bool:
    """Whether what follows a command that trains is a packaged recipe, a flag, a path, or a name to fill in."""
    if not words or is_placeholder(words[0]):
        return True
    return words[0] in packaged_recipes("*") or any(mark in words[0] for mark in "/-.")


def flags_not_in(script: Path, flags: list[str]) -> list[str]:
    text = script.read_text(encoding="utf-8")
    return [flag for flag in flags if flag not in text and flag[2:].replace("-", "_") not in text]


@each_page
def test_commands_and_flags_exist(page):
    assert [word for words in commands(page) for word in unknown_words(words)] == []


@each_page
def test_flags_named_alone_exist(page):
    named = [span.split()[0] for span in spans(page) if FLAG.match(span)]
    known = frozenset({"--help", "--version"}).union(*map(flags_of, COMMANDS)) if named else frozenset()
    assert [flag for flag in named if flag.split("=")[0] not in known] == []


@each_page
def test_sessions_give_what_they_show(page, monkeypatch):
    monkeypatch.chdir(ROOT)  # where their reader is
    session = "\n".join(text for kind, text in fences(page) if kind == "python" and ">>>" in text)
    known = KNOWN_CORPORA["shakespeare"]
    if "shakespeare" in session and not any((folder / known.path).exists() for folder in data_folders()):
        pytest.skip("Tiny Shakespeare is not on this machine")
    test = doctest.DocTestParser().get_doctest(session, {}, page.name, str(page), 0)
    report: list[str] = []
    doctest.DocTestRunner().run(test, out=report.append)
    assert "".join(report) == ""


def test_the_picture_shows_the_floors_that_imports_are_checked_against():
    svg = {"svg": "http://www.w3.org/2000/svg"}
    picture = ET.parse(ROOT / "docs" / "floors.svg").getroot()
    assert picture.get("role") == "img"
    assert picture.get("aria-labelledby", "").split() == [
        picture.find(tag, svg).get("id") for tag in ("svg:title", "svg:desc")
    ]
    rooms = [
        (floor, (text.text or "").removesuffix("/").removesuffix(".py"))
        for floor, group in enumerate(picture.findall("svg:g", svg))
        for text in group.findall("svg:text[@class='room']", svg)
    ]
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contract, *_ = config["tool"]["importlinter"]["contracts"]
    layers = [layer.replace("folio.", "").split(" | ") for layer in contract["layers"]]
    floor_of = {room: floor for floor, room in rooms}
    assert set(floor_of) == {name for layer in layers for name in layer}
    assert all(len({floor_of[name] for name in layer}) == 1 for layer in layers)
    heights = [floor_of[layer[0]] for layer in layers]
    assert heights == sorted(heights)
    in_package = {
        path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert set(floor_of) == in_package - {"__init__"}
