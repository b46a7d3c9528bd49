"""What each rung of the ladder buys, three seeds; and what those beyond the lecture buy in the same time.

    python benchmarks/ladder.py

Takes about 45 minutes on two cores. Interrupted, it goes on where it was. Writes benchmarks/ladder.json, from
which `make docs` fills in the tables of benchmarks/ladder.md and src/folio/lecture/pages/, and the chart of the latter.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import tyro

from folio.commands.ladder import LadderConfig, ladder, read_rows, size_of
from folio.data.corpora import KNOWN_CORPORA
from folio.lecture.ladder import LADDER
from folio.log import make_console
from folio.report.ladder import Row, draw_ladder
from folio.runs.directory import RunDirectory

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to measure."""

    seeds: int = 3
    run: Path = Path("runs/ladder-benchmark")
    """Where the results of single seeds go, and are found again."""


def main() -> None:
    config = tyro.cli(Config, description=__doc__)
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
    info = RunDirectory(config.run).read_info()
    if info["data_sha256"] != KNOWN_CORPORA["shakespeare"].sha256:
        raise SystemExit(
            f"These losses are of another text ({info['text']}): Tiny Shakespeare was not found."
        )
    report = {
        **{key: info[key] for key in ("hardware", "torch")},
        "seeds": config.seeds,
        "rungs": [table_row(row) for row in rows],
        "equal_time": [table_row(row) for row in (lecture, longer, top)],
    }
    (ROOT / "benchmarks" / "ladder.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    draw_ladder(rows, ROOT / "src" / "folio" / "lecture" / "pages" / "ladder.png")


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
