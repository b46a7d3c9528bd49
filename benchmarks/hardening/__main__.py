"""What people bring, and what happens to their machines: try all of it, and count tracebacks, silence and losses.

    python benchmarks/hardening [--quick] [--parts kills disk] [--write]

The commands run as they do for a person, with tiny models, in processes forked from one that has imported folio. A fault
is one of: {faults}.
Ends with exit code 1 if there is any. --write puts the counts into benchmarks/hardening.json; those of other parts stay there.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.append(
    str(ROOT / "tests" / "support")
)  # the tests kill processes and make tiny data in the same way
os.environ |= {"OMP_NUM_THREADS": "1", "COLUMNS": "100"}  # before folio is imported, here or in the forks

import tyro  # noqa: E402
from damage import damage  # noqa: E402
from disk import disk  # noqa: E402
from flags import flags  # noqa: E402
from inputs import inputs  # noqa: E402
from kills import kills  # noqa: E402
from readers import readers  # noqa: E402
from trial import FAULTS, Part, Trial  # noqa: E402

import folio  # noqa: E402
from commands import Workshop  # noqa: E402
from folio.runtime import choose_device, describe  # noqa: E402

PARTS: dict[str, Part] = {
    "inputs": inputs,
    "damage": damage,
    "flags": flags,
    "kills": kills,
    "disk": disk,
    "readers": readers,
}

COUNTS = ROOT / "benchmarks" / "hardening.json"


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to try."""

    parts: tuple[str, ...] = tuple(PARTS)
    """Which of the parts."""
    quick: bool = False
    """A small selection of each part."""
    write: bool = False
    """Write the counts to benchmarks/hardening.json."""


def main() -> None:
    description = (__doc__ or "").format(faults="; ".join(f"{k} ({words})" for k, words in FAULTS.items()))
    config = tyro.cli(Config, description=description)
    folder = Path(tempfile.mkdtemp(prefix="hardening-"))
    print(folder, flush=True)
    report: dict[str, Any] = {}
    try:
        shop = Workshop(folder)
        shop.build()
        for name in config.parts:
            start = time.perf_counter()
            trials = [told(name, trial) for trial in PARTS[name](shop, config.quick)]
            report[name] = (
                {"form": "quick" if config.quick else "long"}
                | facts()
                | counts(trials, time.perf_counter() - start)
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(table(report))
    if config.write:
        keep(report)
    sys.exit(any(part["faults"] for part in report.values()))


def facts() -> dict[str, str]:
    """Return when and where a part is tried."""
    return {
        "folio": folio.__version__,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": describe(choose_device("cpu")),
    }


def keep(report: dict[str, Any]) -> None:
    """Replace the counts of the parts that were tried."""
    known = json.loads(COUNTS.read_text(encoding="utf-8")) if COUNTS.exists() else {}
    parts = {name: report.get(name) or known.get(name) for name in PARTS}
    text = json.dumps({name: part for name, part in parts.items() if part}, indent=1)
    COUNTS.write_text(text + "\n", encoding="utf-8")


def told(part: str, trial: Trial) -> Trial:
    """Print a trial that has a fault."""
    if trial.fault:
        print(f"\n{part}: {trial.fault}: {trial.what}\n{trial.evidence.rstrip()}", flush=True)
    return trial


def counts(trials: list[Trial], seconds: float) -> dict[str, Any]:
    """Return the numbers of a part, and its faults."""
    return {
        "trials": sum(trial.count for trial in trials),
        **{fault: sum(trial.fault == fault for trial in trials) for fault in FAULTS},
        "seconds": round(seconds),
        "faults": [asdict(trial) for trial in trials if trial.fault],
    }


def table(report: dict[str, Any]) -> str:
    """Return the counts of all parts as a table."""
    columns = ("trials", *FAULTS, "seconds")
    rows = [[name, *(f"{part[column]:,}" for column in columns)] for name, part in report.items()]
    return "\n".join(f"| {' | '.join(row)} |" for row in [["part", *columns], ["---"] * 8, *rows])


if __name__ == "__main__":
    main()
