"""Fill in code and measured figures on pages, from the source and from the JSON files of benchmarks/ (figures.py).

`make docs` runs cog (https://cog.readthedocs.io), which replaces each marked block with the output of the function that it
names. A test fails if a page is out of date.
"""

import ast
import json
from pathlib import Path

from figures import *  # noqa: F403  (names for cog, which takes one import)
from tried import *  # noqa: F403

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "folio" / "lecture"


def code(*names: str) -> None:
    """Print the source of definitions, as in `code("parts.Head", "ladder.SINGLE_HEAD")`.

    "parts.Head.forward" is a method, "gpt" a whole file.
    """
    print("```python")
    print("\n\n".join(_definition(name) for name in names))
    print("```")


def _definition(name: str) -> str:
    module, *path = name.split(".")
    text = (SOURCE / f"{module}.py").read_text(encoding="utf-8")
    if not path:
        return text.rstrip("\n")
    body, node = ast.parse(text).body, None
    for part in path:
        (node,) = (each for each in body if _name_of(each) == part)
        body = getattr(node, "body", [])
    first = min(each.lineno for each in (node, *getattr(node, "decorator_list", [])))
    lines = text.splitlines()[first - 1 : node.end_lineno]
    indent = len(lines[0]) - len(lines[0].lstrip())
    return "\n".join(line[indent:] for line in lines)


def _name_of(node: ast.stmt) -> str | None:
    if isinstance(node, ast.Assign):
        return getattr(node.targets[0], "id", None)
    return getattr(node, "name", None)


def fields(endpoint: str) -> None:
    """Print the fields that an endpoint of `folio serve` honors, accepts without effect, and refuses."""
    from folio.server.openapi import ENDPOINTS

    table, _ = ENDPOINTS[endpoint]
    print("| field | |")
    print("|---|---|")
    for status in ("honored", "accepted", "refused"):
        for name, field in table.items():
            if field.status == status:
                verdict = "" if status == "honored" else f"*{status}*: "
                print(f"| `{name}` | {verdict}{field.use} |")


def measured(*rungs: str) -> None:
    """Print the table of these rungs, or all, from benchmarks/ladder.py."""
    print("| rung | what was added | parameters | validation loss | change | seconds | lecture |")
    print("|---|---|---:|---:|---:|---:|---:|")
    below = None
    for row in _report()["rungs"]:
        if row["rung"] in rungs or not rungs:
            change = "" if below is None else f"{row['val_loss'] - below:+.3f}"
            lecture = "" if row["lecture_loss"] is None else f"{row['lecture_loss']:.2f}"
            print(
                f"| `{row['rung']}` | {row['added']} | {row['parameters']:,} | {_loss(row)} "
                f"| {change} | {row['seconds']:.1f} | {lecture} |"
            )
            below = row["val_loss"]


def equal_time() -> None:
    """Print the comparison of `scale_up` and `muon` at equal training time."""
    print("| rung | steps | seconds of training | validation loss |")
    print("|---|---:|---:|---:|")
    for row in _report()["equal_time"]:
        print(f"| `{row['rung']}` | {row['steps']} | {row['seconds']:.0f} | {_loss(row)} |")


def machine() -> None:
    """Print the machine, the torch version and the number of seeds of the figures."""
    report = _report()
    print(f"{report['hardware']}, torch {report['torch']}, {report['seeds']} seeds.")


def _loss(row: dict) -> str:
    return f"{row['val_loss']:.3f}" + ("" if row["spread"] is None else f" ± {row['spread']:.3f}")


def _report() -> dict:
    return json.loads((ROOT / "benchmarks" / "ladder.json").read_text(encoding="utf-8"))
