"""What each rung of the ladder buys, three seeds; and what those beyond the lecture buy in the same time.

    python benchmarks/ladder.py

Takes about 45 minutes on two cores. Interrupted, it goes on where it was. Writes benchmarks/ladder.json, from
which the tables of benchmarks/ladder.md and docs/lecture/ are filled in (`make docs`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import torch
import tyro

from folio.lecture.ladder import LADDER
from folio.log import make_console
from folio.runtime import choose_device, describe
from folio.stages.ladder import LadderConfig, ladder, rows_of
from folio.stages.ladder_show import Row
from folio.train.run import RunDirectory

HERE = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to measure."""

    seeds: int = 3
    run: Path = Path("runs/ladder-benchmark")
    """Where the results of single seeds go, and are found again."""


def main() -> None:
    config = tyro.cli(Config, description=__doc__)
    rows = climb(LadderConfig(seeds=config.seeds, run=config.run, resume=True))
    by_name = {row.name: row for row in rows}
    lecture, top = by_name["scale_up"], by_name["muon"]
    # The lecture's last rung makes its steps faster, and so gets more of them.
    steps = round(LADDER["scale_up"].size.steps * top.seconds / lecture.seconds)
    (longer,) = climb(
        LadderConfig(
            rungs="scale_up",
            steps=steps,
            seeds=config.seeds,
            run=config.run.with_name(f"{config.run.name}-equal-time"),
            resume=True,
        )
    )
    report = {
        "date": date.today().isoformat(),
        "hardware": describe(choose_device("cpu")),
        "torch": torch.__version__,
        "seeds": config.seeds,
        "rungs": [table_row(row) for row in rows],
        "equal_time": {"steps": steps, **table_row(longer)},
    }
    (HERE / "ladder.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(
        f"scale_up for {longer.seconds:.0f} s: {longer.loss_text}; muon for {top.seconds:.0f} s: {top.loss_text}"
    )


def climb(config: LadderConfig) -> list[Row]:
    """Train what is not trained yet."""
    ladder(config, make_console())
    assert config.run is not None
    return rows_of(RunDirectory(config.run), config.rungs.split(",") if config.rungs else LADDER)


def table_row(row: Row) -> dict[str, object]:
    return {
        "rung": row.name,
        "added": row.added,
        "parameters": row.parameters,
        "val_loss": round(row.val_loss, 4),
        "spread": None if row.spread is None else round(row.spread, 4),
        "seconds": round(row.seconds, 1),
        "lecture_loss": row.lecture_loss,
    }


if __name__ == "__main__":
    main()
