"""What each rung of the ladder buys, three seeds; and what those beyond the lecture buy in the same time.

    python benchmarks/ladder.py
    python benchmarks/ladder.py --samples-only

The first takes about 45 minutes on two cores. Interrupted, it goes on where it was. Writes benchmarks/ladder.json, from
which `make docs` fills in the tables of benchmarks/ladder.md and src/folio/lecture/pages/, the texts that the rungs
write, and the chart. The second trains each rung with the first seed only, and replaces the texts alone.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from folio.commands.ladder import LadderConfig, ladder, read_rows, size_of
from folio.data.corpora import KNOWN_CORPORA
from folio.lecture.ladder import LADDER
from folio.log import make_console
from folio.report.ladder import Row, draw_ladder
from folio.runs.directory import RunDirectory

ROOT = Path(__file__).parents[1]
FIGURES = ROOT / "benchmarks" / "ladder.json"


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to measure."""

    seeds: int = 3
    run: Path = Path("runs/ladder-benchmark")
    """Where the results of single seeds go, and are found again."""
    samples_only: bool = False
    """Keep the figures that are there: only replace the text of each rung, by a training with seed 1."""


def main() -> None:
    config = tyro.cli(Config, description=__doc__)
    if config.samples_only:
        replace_samples(config.run.with_name(f"{config.run.name}-samples"))
    else:
        measure(config)


def measure(config: Config) -> None:
    """Train everything, and write all figures and texts."""
    rows = climb(config.run, LadderConfig(seeds=config.seeds, run=config.run, resume=True, device="cpu"))
    by_name = {row.name: row for row in rows}
    lecture, top = by_name["scale_up"], by_name["muon"]
    # The lecture's last rung makes its steps faster, and so gets more of them.
    run = config.run.with_name(f"{config.run.name}-equal-time")
    (longer,) = climb(
        run,
        LadderConfig(
            rungs="scale_up",
            steps=round(lecture.steps * top.seconds / lecture.seconds),
            seeds=config.seeds,
            run=run,
            resume=True,
            device="cpu",
        ),
    )
    info = read_info(config.run)
    report = {
        **{key: info[key] for key in ("hardware", "torch")},
        "seeds": config.seeds,
        "rungs": [table_row(row) for row in rows],
        "equal_time": [table_row(row) for row in (lecture, longer, top)],
        "samples": samples(rows, info),
    }
    write(report)
    draw_ladder(rows, ROOT / "src" / "folio" / "lecture" / "pages" / "ladder.png")


def replace_samples(run: Path) -> None:
    """Train each rung with one seed, and write what it generates into the figures that are there."""
    rows = climb(run, LadderConfig(seeds=1, run=run, resume=True, device="cpu"))
    write(json.loads(FIGURES.read_text(encoding="utf-8")) | {"samples": samples(rows, read_info(run))})


def samples(rows: list[Row], info: dict[str, Any]) -> dict[str, object]:
    """Return the text of each rung's first seed, the loss of the model that wrote it, and where it was trained."""
    first = {row.name: row.results[0] for row in rows}
    return {
        **{key: info[key] for key in ("hardware", "torch")},
        "seed": rows[0].results[0].seed,
        "rungs": {
            name: {"val_loss": round(result.val_loss, 4), "text": result.text}
            for name, result in first.items()
        },
    }


def read_info(run: Path) -> dict[str, Any]:
    """Return run.json. Raises SystemExit if the run is one of another text."""
    info = RunDirectory(run).read_info()
    if info["data_sha256"] != KNOWN_CORPORA["shakespeare"].sha256:
        raise SystemExit(f"{run} is of another text ({info['text']}): Tiny Shakespeare was not found.")
    return info


def write(report: dict[str, object]) -> None:
    FIGURES.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def climb(run: Path, config: LadderConfig) -> list[Row]:
    """Train what is not trained yet."""
    ladder(config, make_console())
    names = config.rungs.split(",") if config.rungs else list(LADDER)
    return read_rows(RunDirectory(run), {name: size_of(LADDER[name], config) for name in names})


def table_row(row: Row) -> dict[str, object]:
    return {
        "rung": row.name,
        "added": row.added,
        "parameters": row.parameters,
        "steps": row.steps,
        "val_loss": round(row.val_loss, 4),
        "spread": None if row.spread is None else round(row.spread, 4),
        "seconds": round(row.seconds, 1),
        "lecture_loss": row.lecture_loss,
    }


if __name__ == "__main__":
    main()
