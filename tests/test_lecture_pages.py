"""The pages of the lecture: complete, and every command on them runs."""

import hashlib
import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

import folio
from folio.data.corpora import KNOWN_CORPORA, data_folders
from folio.lecture.ladder import LADDER

ROOT = Path(__file__).parents[1]
LECTURE = ROOT / "src" / "folio" / "lecture" / "pages"
PAGES = sorted(LECTURE.glob("[0-9]*.md"))
STEPS = [page for page in PAGES if 1 <= int(page.name[:2]) <= 15]
"""The pages of the ladder; those before and after are about the text, ChatGPT, and what surrounds the model."""
FURTHER = [page for page in PAGES if int(page.name[:2]) >= 17]
"""Pages with one script to try."""
GLOSSARY = LECTURE / "glossary.md"
FILLED = [LECTURE / "README.md", *PAGES, ROOT / "benchmarks" / "ladder.md"]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LITTLE = {"--n-embd": "16", "--n-head": "2", "--n-layer": "1", "--block-size": "8", "--batch-size": "2"}
"""A command is run as it stands on the page, but for two steps, and with little where it does not say."""


def commands(page: Path) -> list[list[str]]:
    """Every `folio ...` in a block or in backticks."""
    text = page.read_text(encoding="utf-8")
    lines = [line for _, block in BLOCK.findall(text) for line in block.split("\n")]
    lines += [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", BLOCK.sub("", text))]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("folio ")]


COMMANDS = sorted(
    {tuple(command) for page in (*FILLED, GLOSSARY, ROOT / "README.md") for command in commands(page)
     if command[0] in ("ladder", "explain")}
)  # fmt: skip
"""Other commands are tested with pages of their own."""


def rung_of(page: Path) -> str:
    """The rung that a page is about, if it is one of the ladder."""
    return re.sub(r"^\d+-", "", page.stem).replace("-", "_")


def test_every_rung_has_a_page_in_order():
    names = [rung_of(page) for page in STEPS]
    names.remove("averaging")  # what comes between position and single_head, and is no model by itself
    assert names == list(LADDER)
    assert [int(page.name[:2]) for page in PAGES] == list(range(len(PAGES)))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_has_all_its_parts(page):
    text = page.read_text(encoding="utf-8")
    headings = re.findall(r"^## (.+)$", BLOCK.sub("", text), re.MULTILINE)
    of_a_step = ["The idea", "The shapes", "The new code", "What it bought"] if page in STEPS else []
    expected = [*of_a_step, "Try it", "Quiz"]
    assert [heading for heading in headings if heading in expected] == expected
    assert re.findall(r"<summary>(\d)\. ", text) == ["1", "2", "3"]
    assert text.count("<details>") == text.count("</details>") >= 4
    assert ">>> " in text or page in FURTHER
    assert "[[[cog code(" in text or page not in STEPS
    assert (f'[[[cog sample("{rung_of(page)}") ]]]' in text) == (rung_of(page) in LADDER)
    assert "@@" not in text  # an outcome still to be measured


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_lead_to_each_other(page):
    number = PAGES.index(page)
    neighbors = {PAGES[i].name for i in (number - 1, number + 1) if 0 <= i < len(PAGES)}
    navigation = page.read_text(encoding="utf-8").split("\n")[2]
    assert set(re.findall(r"\]\(([^)]+)\)", navigation)) == {"README.md", *neighbors}


def test_the_contents_name_every_page():
    contents = (LECTURE / "README.md").read_text(encoding="utf-8")
    assert [page.name for page in (*PAGES, GLOSSARY) if f"]({page.name})" not in contents] == []


def plain(text: str) -> str:
    """Lower case, without emphasis and line breaks."""
    return " ".join(text.lower().replace("*", "").split())


def test_the_glossary_links_to_pages_that_have_the_word():
    entries = re.split(r"^- ", GLOSSARY.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    assert len(entries) >= 40
    for entry in entries:
        term = re.match(r"\*\*(.+?)\*\*: ", entry).group(1)
        targets = re.findall(r"\]\(([^)]+)\)", entry)
        texts = [plain((LECTURE / target).read_text(encoding="utf-8")) for target in targets]
        words = [word.strip("()") for word in re.split(r", | \(", plain(term))]
        assert texts, term
        assert all(any(word in text for word in words) for text in texts), term


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_runs(folio, finished, tmp_path, text_file, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(finished, tmp_path / "runs" / "shakespeare")
    name, *flags = command
    flags = [
        "1.1" if before == "--without" else flag for before, flag in zip((name, *flags), flags, strict=False)
    ]
    little = [word for flag, value in LITTLE.items() if flag not in flags for word in (flag, value)]
    outcome = folio(name, *flags, *({"ladder": ("--data", text_file, "--steps", 2, *little)}.get(name, ())))
    assert outcome.code == 0, outcome.err


def test_what_came_out_is_of_the_commands_and_scripts_on_the_pages():
    """Where this fails, `python benchmarks/experiments.py --pages NUMBER` runs a page's experiment again."""
    found = json.loads((ROOT / "benchmarks" / "experiments.json").read_text(encoding="utf-8"))
    for page in PAGES:
        figures = found.get(page.stem, {})
        blocks = BLOCK.findall(page.read_text(encoding="utf-8"))
        lines = [line for _, block in blocks for line in block.split("\n")]
        ladders = [line.removeprefix("folio ladder ") for line in lines if line.startswith("folio ladder ")]
        looks = [line.removeprefix("folio explain ") for line in lines if line.startswith("folio explain ")]
        scripts = [
            code for kind, code in blocks if kind == "python" and "load_corpus" in code and ">>>" not in code
        ]
        if page in STEPS:
            assert [each["flags"] for each in figures.get("commands", [])][: len(ladders)] == ladders, (
                page.name
            )
        assert list(figures.get("explained", {})) == [each for each in looks if "--png" not in each], (
            page.name
        )
        digests = [hashlib.sha256(script.encode()).hexdigest() for script in scripts]
        assert ([figures["script"]] if "script" in figures else []) == digests, page.name


def test_there_is_something_to_try_on_every_page():
    assert {"explain", "ladder"} <= {command[0] for command in COMMANDS}
    without = [
        page.name for page in (PAGES[0], *STEPS) if not any(each[0] == "ladder" for each in commands(page))
    ]
    assert without == ["03-averaging.md"]


@pytest.mark.slow
@pytest.mark.parametrize("page", FURTHER, ids=lambda page: page.name)
def test_the_script_to_try_runs(tmp_path, monkeypatch, capsys, page):
    known = KNOWN_CORPORA["shakespeare"]
    if not any((folder / known.path).exists() for folder in data_folders()):
        pytest.skip("Tiny Shakespeare is not on this machine")
    monkeypatch.chdir(tmp_path)
    tokenizer = folio.CharTokenizer.train(folio.load_corpus("shakespeare").text)
    config = folio.GPTConfig(vocab_size=tokenizer.vocab_size, block_size=8, n_layer=1, n_head=1, n_embd=16)
    folio.save(folio.GPT(config), tokenizer, "runs/shakespeare")
    scripts = [text for kind, text in BLOCK.findall(page.read_text(encoding="utf-8")) if kind == "python"]
    (script,) = [text for text in scripts if "load_corpus" in text and ">>>" not in text]
    for long, short in {"range(1, 1001)": "range(1, 201)", "* 32": "* 2"}.items():
        script = script.replace(long, short)
    exec(compile(script, page.name, "exec"), {})
    assert capsys.readouterr().out.strip()
