"""What a benchmark of speed keeps of each measurement, in the JSON file beside its script."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import folio
from folio.runtime import choose_device, describe


def add_measurement(script: Path, rows: Sequence[dict[str, Any]], packages: Sequence[str] = ()) -> Path:
    """Append rows to the list in the JSON file of a script's name, and return its path.

    Earlier measurements stay: a speed means something only beside that of another version on a named machine. The command
    is the one that is running, less `--write`; packages: peers whose versions are named.
    """
    path = script.with_suffix(".json")
    words = [f"benchmarks/{script.name}", *(word for word in sys.argv[1:] if word != "--write")]
    measurement = {
        "folio": folio.__version__,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": describe(choose_device("cpu")),
        "torch": torch.__version__,
        **{name: version(name) for name in packages},
        "threads": torch.get_num_threads(),
        "command": " ".join(("python", *words)),
        "rows": list(rows),
    }
    earlier = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    path.write_text(
        json.dumps([*earlier, measurement], indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    print(f"added to {path}")
    return path
