"""Show hardware, memory, compiler, versions, and the speed of a matrix product in each precision."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Sequence
from importlib.metadata import version

import torch

from folio import __version__
from folio.log import format_size, format_speed, make_console
from folio.native.compiler import problem
from folio.report.tables import show_table
from folio.runs.flags import read_config
from folio.runtime import (
    DTYPES,
    RuntimeConfig,
    available_memory,
    can_compile,
    describe,
    matmul_speed,
    start_runtime,
)

LIBRARIES = ("safetensors", "tokenizers", "numpy", "tyro", "rich")


def told(problem: str) -> str:
    """Return why the decoder cannot be compiled, in brackets, or "" where it can."""
    return f" ({problem})" if problem else ""


def main(arguments: Sequence[str]) -> None:
    """Run `folio doctor [flags]`."""
    config = read_config(RuntimeConfig, arguments, recipe=None, prog="folio doctor", description=__doc__)
    console = make_console()
    runtime = start_runtime(config)
    lines = {
        "folio": f"{__version__}, Python {platform.python_version()}, {platform.platform()}",
        "torch": torch.__version__,
        "libraries": ", ".join(f"{name} {version(name)}" for name in LIBRARIES),
        "hardware": describe(runtime.device),
        "memory": f"{format_size(available_memory(runtime.device))} available",
        "disk": f"{format_size(shutil.disk_usage('.').free)} free here",
        "threads": str(runtime.threads),
        "compiler": "found; models are compiled"
        if can_compile(runtime.device)
        else "not found; training works, but is slower",
        "decoder": f"{runtime.decoder}{told(problem())}",
    }
    for name, dtype in DTYPES.items():
        lines[name] = f"{format_speed(matmul_speed(runtime.device, dtype))} in a matrix product"
    lines["choice"] = str(runtime)
    show_table(lines, console)
