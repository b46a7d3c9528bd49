"""Run the experiments on the lecture's pages, and what their figures and texts come from.

    folio pretrain shakespeare
    python benchmarks/experiments.py
    python benchmarks/experiments.py --pages 01,05

The first makes the model that some pages look into. The second takes about an hour on two cores; --pages runs those of some
pages only, and the figures of the others stay. Interrupted, it goes on where it was. Writes benchmarks/experiments.json, from
which `make docs` fills in the pages: the losses of their `folio ladder` commands, with one seed, and what their scripts print.
"""

from __future__ import annotations

import doctest
import hashlib
import io
import json
import math
import re
import shlex
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
import tyro

import folio
from folio import cli
from folio.files import read_lines
from folio.inference.inspection import logprobs
from folio.lecture import gpt
from folio.runs.directory import RunDirectory
from folio.runtime import choose_device, describe
from folio.tokenizer.chat_template import completion_ids, prompt_ids

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "src" / "folio" / "lecture" / "pages"
FIGURES = ROOT / "benchmarks" / "experiments.json"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BASE = Path("runs/shakespeare")
"""The model that pages look into, made by `folio pretrain shakespeare`."""
DIALOGUES = Path("runs/dialogues")
MORE = {
    "01": ["--rungs bigram --learning-rate 0.001 --steps 20000"],
    "05": ["--rungs multi_head --n-head 2"],
    "15": ["--rungs swiglu --learning-rate 0.002", "--rungs swiglu --learning-rate 0.004"],
}
"""Flags of `folio ladder` for figures in the text of a page, beside those of its experiment."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to run."""

    pages: str = ""
    """Numbers of pages, separated by commas, as in 01,05; by default all."""
    runs: Path = Path("runs/experiments")
    """Where the ladders go, and are found again."""


def main() -> None:
    config = tyro.cli(Config, description=__doc__)
    wanted = config.pages.split(",") if config.pages else []
    for page in sorted(PAGES.glob("[0-9]*.md")):
        if wanted and page.name[:2] not in wanted:
            continue
        if found := experiment(page, config.runs):
            place = {"hardware": describe(choose_device("cpu")), "torch": torch.__version__}
            figures = json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.exists() else {}
            figures = dict(sorted({**figures, page.stem: {**place, **found}}.items()))
            text = json.dumps(figures, indent=2, ensure_ascii=False) + "\n"
            FIGURES.write_text(text, encoding="utf-8")
            print(f"{page.stem}: {FIGURES}")


def experiment(page: Path, runs: Path) -> dict[str, Any]:
    """Return what came out of the commands and the script on a page, and of what else stands there."""
    number, found = page.name[:2], {}
    if 1 <= int(number) <= 15 and (commands := [*flags_of("ladder", page), *MORE.get(number, [])]):
        found["commands"] = [
            {"flags": each, "rungs": climb(each, runs / f"{page.stem}-{n}")}
            for n, each in enumerate(commands)
        ]
    if looks := [each for each in flags_of("explain", page) if "--png" not in each]:
        found["explained"] = {each: explained(each) for each in looks}
    if script := script_of(page):
        found["script"] = hashlib.sha256(script.encode()).hexdigest()
        found["printed"] = {name: printed(code) for name, code in variants(number, script).items()}
    if number in SPECIAL:
        found |= SPECIAL[number](page)
    return found


def flags_of(command: str, page: Path) -> list[str]:
    """Return what stands after each `folio COMMAND` in the blocks of a page."""
    lines = [
        line for _, block in BLOCK.findall(page.read_text(encoding="utf-8")) for line in block.split("\n")
    ]
    start = f"folio {command} "
    return [line.removeprefix(start) for line in lines if line.startswith(start)]


def explained(flags: str) -> str:
    """Return what `folio explain` prints, in 80 columns."""
    out = io.StringIO()
    with redirect_stdout(out):
        code = cli.main(["explain", *shlex.split(flags)])
    if code:
        raise SystemExit(code)
    return "\n".join(line.rstrip() for line in out.getvalue().split("\n")).strip("\n")


def climb(flags: str, run: Path) -> dict[str, float]:
    """Train the rungs of a command, if they are not trained yet, and return their losses."""
    code = cli.main(["ladder", *shlex.split(flags), "--run", str(run), "--resume", "--device", "cpu"])
    if code:
        raise SystemExit(code)
    return {row["rung"]: round(row["val_loss"], 4) for row in read_lines(run / "results.jsonl")}


def script_of(page: Path) -> str | None:
    """Return the script to try on a page, or None if it has none."""
    scripts = [code for kind, code in BLOCK.findall(page.read_text(encoding="utf-8")) if kind == "python"]
    return next((code for code in scripts if "load_corpus" in code and ">>>" not in code), None)


def variants(number: str, script: str) -> dict[str, str]:
    """Return the script of a page, and others that differ from it in what the page asks."""
    if number == "17":
        sys.modules["gpt_without_mask"] = without_mask()
        copy = script.replace("from folio.lecture.gpt import GPT", "from gpt_without_mask import GPT")
        return {"": script, "without the mask": copy + LAST_POSITION}
    if number == "23":
        return {"": script, "seed 2": script.replace("torch.manual_seed(1)", "torch.manual_seed(2)")}
    return {"": script}


LAST_POSITION = """
with torch.no_grad():
    scores = model(windows[:, :-1])
    costs = torch.nn.functional.cross_entropy(scores.transpose(1, 2), windows[:, 1:], reduction="none").mean(0)
print(f"last position {costs[-1]:.2f}, the others {costs[:-1].mean():.3f}")
"""
"""Where the loss without the mask comes from."""


def without_mask() -> ModuleType:
    """Return lecture/gpt.py without the causal mask."""
    code = Path(gpt.__file__).read_text(encoding="utf-8")
    masked = 'scores.masked_fill(future, float("-inf"))'
    assert masked in code
    module = ModuleType("gpt_without_mask")
    exec(compile(code.replace(masked, "scores"), module.__name__, "exec"), module.__dict__)
    return module


def printed(code: str) -> str:
    """Run a script and return what it prints."""
    out = io.StringIO()
    with redirect_stdout(out):
        exec(compile(code, "script", "exec"), {"__name__": "__main__"})
    return out.getvalue().rstrip("\n")


def session(page: Path, changes: dict[str, str]) -> dict[str, Any]:
    """Run the sessions of a page, with some text replaced, and return their names and values."""
    blocks = [code for kind, code in BLOCK.findall(page.read_text(encoding="utf-8")) if kind == "python"]
    text = "\n".join(code for code in blocks if ">>>" in code)
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    names: dict[str, Any] = {}
    with redirect_stdout(io.StringIO()):
        for example in doctest.DocTestParser().get_examples(text):
            exec(compile(example.source, page.name, "single"), names)
    return names


def text_to_batches(page: Path) -> dict[str, Any]:
    """Return what the loop of page 0 comes to, with 32 windows and with one, and what models write."""

    def loss(names: dict[str, Any]) -> float:
        data, model = names["validation"], names["model"]
        with torch.no_grad():
            return round(F.cross_entropy(model(data[:-1]), data[1:]).item(), 3)

    many, one = session(page, {}), session(page, {"(32,)": "(1,)"})
    torch.manual_seed(1)
    untrained = {**many, "model": torch.nn.Embedding(*many["model"].weight.shape)}
    model, tokenizer = folio.load(BASE)
    poem = folio.generate(
        model, tokenizer, "Write a poem about love.", max_new_tokens=160, temperature=0.8, seed=0
    )
    return {
        "losses": {"before": loss(untrained), "32 windows": loss(many), "1 window": loss(one)},
        "written": many["tokenizer"].decode(many["out"]),
        "poem": poem,
        "base": base_figures(),
    }


def base_figures() -> dict[str, Any]:
    """Return what the model that pages look into has read, and how good it is."""
    run = RunDirectory(BASE)
    records, info = run.read_metrics(), run.read_info()
    losses = [record["val_loss"] for record in records if "val_loss" in record]
    model, _ = folio.load(BASE)
    return {
        "val_loss": round(min(losses), 4),
        "tokens": records[-1]["tokens"],
        "parameters": model.n_parameters,
        "seconds": round(records[-1]["train_seconds"]),
        "hardware": info["hardware"],
        "threads": info["runtime"].get("threads"),
    }


def two_tables(page: Path) -> dict[str, Any]:
    """Return the nearest characters of some in the table that reads and in the one that writes."""
    model, tokenizer = folio.load(BASE)
    known = set(folio.load_corpus("shakespeare").text)
    rows = []
    for character in ".tTae":
        (i,) = tokenizer.encode(character).tolist()
        row: dict[str, Any] = {"character": character}
        for name, table in (("reads", model.embedding.weight), ("writes", model.head.weight)):
            cosines = F.cosine_similarity(table.detach(), table.detach()[i], dim=-1)
            order = [
                j
                for j in cosines.argsort(descending=True).tolist()
                if j != i and tokenizer.decode([j]) in known
            ]
            row[name] = [[tokenizer.decode([j]), round(cosines[j].item(), 2)] for j in order[:3]]
        rows.append(row)
    return {"tables": rows}


def to_chatgpt(page: Path) -> dict[str, Any]:
    """Return what page 16's tiny assistants answer, and what fine-tuning on dialogues changes."""
    return {"tiny": tiny_assistants(page), "dialogues": dialogues()}


def tiny_assistants(page: Path) -> dict[str, Any]:
    names = session(page, {})
    tokenizer, question = names["tokenizer"], names["question"]

    def answer(model: Any, country: str) -> list[Any]:
        text = folio.chat(model, tokenizer, question(country), temperature=0)
        ids = prompt_ids(tokenizer, [{"role": "user", "content": question(country)}])
        own = completion_ids(tokenizer, text)
        return [text, round(math.exp(logprobs(model, [*ids, *own])[-len(own) :].sum().item()), 2)]

    def cost(model: Any) -> float:
        exchanges = [names["exchange"](country) for country in names["capitals"]]
        total = sum(
            -logprobs(model, [*each.prompt, *each.completion])[-len(each.completion) :].sum().item()
            for each in exchanges
        )
        return round(total / len(exchanges), 2)

    listens, ignores = names["listens"], names["ignores"]
    places = ("Oz", "Mordor", "Utopia", "Atlantis", "Lilliput", "Gondor", "Laputa", "Erewhon")
    refusals = [{"prompt": question(place), "completion": "unknown"} for place in places] * 8
    refuses = names["fine_tuned"]([*names["right"], *refusals])
    right = sum(answer(refuses, country)[0] == city for country, city in names["capitals"].items())
    return {
        "answers": {country: answer(listens, country) for country in ("Kenya", "Germany", "Mars")},
        "cost": {"listens": cost(listens), "ignores": cost(ignores)},
        "prompt_pmi": round(names["test"](listens)["val_prompt_pmi"], 1),
        "after refusals": {
            "capitals right": right,
            **{country: answer(refuses, country)[0] for country in ("Germany", "Chile", "Mars")},
        },
    }


def dialogues() -> dict[str, Any]:
    """Fine-tune on dialogues, if that is not done, and return what the model says before and after."""
    if not RunDirectory(DIALOGUES).exists:
        code = cli.main(["sft", str(BASE), "--data", "shakespeare", "--run", str(DIALOGUES)])
        if code:
            raise SystemExit(code)
    base, assistant = folio.load(BASE), folio.load(DIALOGUES)
    rows = []
    for seed in (0, 1):
        for asked in ("What is thy name?", "Where is the king?"):
            text = folio.generate(*base, asked, max_new_tokens=120, temperature=0.8, seed=seed)
            rows.append(
                {
                    "seed": seed,
                    "question": asked,
                    "before": text.removeprefix(asked),
                    "after": folio.chat(*assistant, asked, temperature=0.8, seed=seed),
                }
            )
    last = [record for record in RunDirectory(DIALOGUES).read_metrics() if "val_prompt_pmi" in record][-1]
    names = ("val_loss", "val_prompt_pmi", "val_prompt_pmi_error", "val_prompt_wins")
    return {"rows": rows, **{name: round(last[name], 4) for name in names}}


SPECIAL: dict[str, Callable[[Path], dict[str, Any]]] = {
    "00": text_to_batches,
    "11": two_tables,
    "16": to_chatgpt,
}
"""Pages with more than commands and a script."""


if __name__ == "__main__":
    main()
