"""What came out of the experiments on the lecture's pages, from benchmarks/experiments.json and the ladder's figures.

Like fill.py, for cog: `make docs` replaces each marked block with what the function in it prints.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def tried(page: str, first: int = 0, last: int | None = None) -> None:
    """Print the losses of the `folio ladder` commands of a page, beside those without their flags; all with seed 1.

    first, last: of the commands, as in a slice.
    """
    usual = {name: row["val_loss"] for name, row in _read("ladder")["samples"]["rungs"].items()}
    print("| rung | flags | validation loss, seed 1 | without the flags |")
    print("|---|---|---:|---:|")
    for command in _found(page)["commands"][first:last]:
        words = command["flags"].split()
        flags = " ".join(words[2:])  # after --rungs NAMES
        for rung, loss in command["rungs"].items():
            print(f"| `{rung}` | `{flags}` | {loss:.2f} | {usual[rung]:.2f} |")


def printed(page: str, variant: str = "") -> None:
    """Print what the script of a page prints, or a variant of it."""
    text_block(_found(page)["printed"][variant])


def explained(page: str, n: int = 0) -> None:
    """Print what the n-th `folio explain` of a page prints, without the lines that name the model."""
    text = list(_found(page)["explained"].values())[n]
    text_block(text.partition("\n\n")[2])


def sample(rung: str) -> None:
    """Print what a rung wrote after training with one seed, and the loss of that model."""
    samples = _read("ladder")["samples"]
    found = samples["rungs"][rung]
    print(f"What it writes, from the start of a line (seed {samples['seed']}, loss {found['val_loss']:.2f}):")
    print()
    text_block(found["text"])


def samples(*rungs: str) -> None:
    """Print the first lines that rungs wrote, each under its name."""
    for rung in rungs:
        found = _read("ladder")["samples"]["rungs"][rung]
        lines = [line for line in found["text"].split("\n") if line.strip()]
        print(f"`{rung}`, loss {found['val_loss']:.2f}:")
        print()
        text_block("\n".join(lines[:4]))
        print()


def samples_machine() -> None:
    """Print the machine and the torch version of the samples."""
    found = _read("ladder")["samples"]
    print(f"{found['hardware']}, torch {found['torch']}, seed {found['seed']}.")


def poem() -> None:
    """Print what the base model makes of a request for a poem."""
    text_block("Write a poem about love." + _found("00-text-to-batches")["poem"])


def loop_text() -> None:
    """Print the beginning of what page 0's loop printed."""
    text_block(_found("00-text-to-batches")["written"][:80])


def one_window() -> None:
    """Print the losses of page 0's loop."""
    losses = _found("00-text-to-batches")["losses"]
    print("| windows in a step | validation loss after 2,000 steps |")
    print("|---:|---:|")
    for name in ("32 windows", "1 window"):
        print(f"| {name.split()[0]} | {losses[name]:.2f} |")


def two_tables() -> None:
    """Print the nearest characters in the table that reads and in the one that writes."""
    print("| character | nearest where it reads | nearest where it writes |")
    print("|---|---|---|")
    for row in _found("11-gelu-tying")["tables"]:
        cells = [
            ", ".join(f"{_sign(token)} {cosine:.2f}" for token, cosine in row[name])
            for name in ("reads", "writes")
        ]
        print(f"| {_sign(row['character'])} | {cells[0]} | {cells[1]} |")


def _sign(token: str) -> str:
    return {" ": "space", "\n": "line break"}.get(token, f"`{token}`")


def base_model() -> None:
    """Print how the model was made that pages look into."""
    base = _found("00-text-to-batches")["base"]
    threads = "" if base["threads"] is None else f", threads: {base['threads']}"
    print(
        f"`folio pretrain shakespeare`, seed 1: {base['parameters']:,} parameters, {base['tokens']:,} characters read, "
        f"validation loss {base['val_loss']:.3f} ({base['hardware']}{threads})."
    )


def before_and_after() -> None:
    """Print answers of the base model and of the one that was fine-tuned on dialogues."""
    print("| seed | question | before: continues | after: answers |")
    print("|---:|---|---|---|")
    for row in _found("16-to-chatgpt")["dialogues"]["rows"]:
        print(f"| {row['seed']} | {row['question']} | {_line(row['before'])} ... | {_line(row['after'])} |")


def _line(text: str) -> str:
    """Return a text on one line, as a cell of a table."""
    return " ".join(text.replace("\n", " ⏎ ").replace("|", "\\|").split())


def invented() -> None:
    """Print what page 16's tiny assistant answers to countries that it knows and does not."""
    print("| question | answer at temperature 0 | probability of that answer |")
    print("|---|---|---:|")
    for country, (text, probability) in _found("16-to-chatgpt")["tiny"]["answers"].items():
        print(f"| Capital of {country}? | {text} | {probability:.2f} |")


def refusals() -> None:
    """Print what it answers after eight refusals."""
    answers: Mapping[str, Any] = _found("16-to-chatgpt")["tiny"]["after refusals"]
    print("| question | answer after eight refusals |")
    print("|---|---|")
    for country, text in answers.items():
        if country != "capitals right":
            print(f"| Capital of {country}? | {text} |")


def text_block(text: str) -> None:
    """Print a text as it stands, without spaces at the ends of lines."""
    lines = "\n".join(line.rstrip() for line in text.split("\n"))
    print(f"```text\n{lines.strip(chr(10))}\n```")


def _found(page: str) -> Any:
    return _read("experiments")[page]


def _read(name: str) -> Any:
    return json.loads((BENCHMARKS / f"{name}.json").read_text(encoding="utf-8"))
