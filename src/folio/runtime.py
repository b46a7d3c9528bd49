"""What this machine is, how fast it multiplies matrices, and how folio should use it."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from folio.errors import UserError

SLOW_PRODUCT = 0.5
"""Seconds after which one matrix product says enough."""
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, kw_only=True)
class RuntimeConfig:
    """Where and how to compute; by default whatever is fastest here."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the matrix products; weights are always kept in float32. auto measures which is faster here."""
    compile: Literal["auto", "on", "off"] = "auto"
    """Whether to compile the model's blocks; auto does where a C++ compiler is installed."""
    threads: int | None = None
    """CPU threads; by default one for each core that this process may use."""

    def __post_init__(self) -> None:
        if self.threads is not None and self.threads < 1:
            raise UserError(f"threads is {self.threads}: it must be at least 1.")


@dataclass(frozen=True)
class Runtime:
    """The choices that a run keeps, so that resuming it computes the same."""

    device: torch.device
    compute_dtype: torch.dtype
    compiles: bool
    threads: int
    flops_per_second: float
    """Measured speed of a plain matrix product in `compute_dtype`."""

    def __str__(self) -> str:
        compiled = "compiled" if self.compiles else "not compiled"
        precision = str(self.compute_dtype).removeprefix("torch.")
        return f"{self.device.type}, {precision} at {self.flops_per_second / 1e9:,.0f} GFLOP/s, {compiled}"

    def place(self, *models: Any) -> None:
        """Move models to the device, and let them compute in the chosen precision."""
        for model in models:
            model.to(self.device)
            model.compute_dtype = self.compute_dtype

    def to_table(self) -> dict[str, str | bool | int | float]:
        """For run.json; `restore_runtime` reads it back."""
        return {
            "device": str(self.device),
            "precision": str(self.compute_dtype).removeprefix("torch."),
            "compiles": self.compiles,
            "threads": self.threads,
            "flops_per_second": self.flops_per_second,
        }


def start_runtime(config: RuntimeConfig) -> Runtime:
    """Set threads, measure, choose. Raises UserError for a device that this machine does not have."""
    threads = config.threads or available_cores()
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision("high")  # TF32 on a GPU; no change on a CPU
    device = choose_device(config.device)
    names = list(DTYPES) if config.precision == "auto" else [config.precision]
    if device.type == "cuda" and config.precision == "auto":
        names = ["bfloat16" if torch.cuda.is_bf16_supported() else "float32"]
    speeds = {name: matmul_speed(device, DTYPES[name]) for name in names}
    # Rounding costs a little loss, so bfloat16 has to be worth it.
    name = "bfloat16" if speeds.get("bfloat16", 0) > 1.2 * speeds.get("float32", 0) else "float32"
    return Runtime(
        device=device,
        compute_dtype=DTYPES[name],
        compiles=config.compile == "on" or (config.compile == "auto" and can_compile(device)),
        threads=threads,
        flops_per_second=speeds[name],
    )


def restore_runtime(table: Mapping[str, Any]) -> Runtime:
    """The choices of an earlier process, so that this one computes the same.

    Raises UserError where the table is damaged, or this machine has no such device.
    """
    try:
        runtime = Runtime(
            device=choose_device(table["device"]),
            compute_dtype=DTYPES[table["precision"]],
            compiles=table["compiles"],
            threads=table["threads"],
            flops_per_second=table["flops_per_second"],
        )
    except KeyError as error:
        raise UserError(f"The runtime in run.json is damaged ({error}); choose another --run.") from None
    torch.set_num_threads(runtime.threads)
    torch.set_float32_matmul_precision("high")
    return runtime


def choose_device(name: str) -> torch.device:
    """The named device, or for "auto" the best there is. Raises UserError if it is not there."""
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        name = next(kind for kind, is_there in available.items() if is_there)
    if not available.get(name):
        there = ", ".join(kind for kind, is_there in available.items() if is_there)
        raise UserError(f"--device {name}: this machine has none that torch can use; there is {there}.")
    return torch.device(name)


def available_cores() -> int:
    """Cores that this process may use: containers and `taskset` make them fewer than the machine's."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, *period = _cgroup("cpu.max").split()
    return cores if quota == "max" else max(1, min(cores, round(int(quota) / int(period[0]))))


def can_compile(device: torch.device) -> bool:
    """Whether torch.compile can work here: on a CPU it needs a C++ compiler, on a GPU Triton."""
    if device.type == "cpu":
        return any(shutil.which(name) for name in (os.environ.get("CXX", "g++"), "g++", "clang++"))
    if device.type == "cuda":
        import importlib.util

        return importlib.util.find_spec("triton") is not None
    return False


def matmul_speed(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations per second of a square matrix product, the best of a few: others may be using it."""
    size = 1024 if device.type == "cpu" else 8192
    a = torch.randn(size, size, device=device).to(dtype)
    seconds = []
    for _ in range(7):
        synchronize(device)
        start = time.perf_counter()
        a @ a
        synchronize(device)
        seconds.append(time.perf_counter() - start)
        if seconds[-1] > SLOW_PRODUCT:
            break  # a precision that this processor only imitates
    return float(2 * size**3 / min(seconds))


def synchronize(device: torch.device) -> None:
    """Wait for the device, so that a clock read afterwards means something."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    elif device.type == "mps":
        torch.mps.synchronize()


def peak_memory(device: torch.device) -> int:
    """Most bytes held so far: by this process, or on the GPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def describe(device: torch.device) -> str:
    """The hardware in a few words."""
    if device.type == "cuda":
        return torch.cuda.get_device_name()
    return f"{_cpu_name()}, {available_cores()} cores"


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def available_memory(device: torch.device) -> int:
    """Bytes that can still be taken: free on the GPU, or on the machine and within the container's limit."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info()[0]
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = 1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    limit = _cgroup("memory.max")
    return free if limit == "max" else max(0, min(free, int(limit) - int(_cgroup("memory.current"))))


def _cgroup(name: str) -> str:
    """A limit of the container that this process is in, or "max" where there is none."""
    try:
        return Path("/sys/fs/cgroup", name).read_text().strip() or "max"
    except OSError:
        return "max"
