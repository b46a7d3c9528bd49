"""Detect the hardware, measure its speed, and choose device, precision and threads."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import psutil
import torch

from folio.config import Few, Settings
from folio.errors import UserError
from folio.log import format_speed
from folio.native.compiler import decoder

SLOW_PRODUCT = 0.5
"""Seconds above which a matrix product is timed only once."""
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, kw_only=True)
class RuntimeConfig(Settings):
    """Device, precision, compilation and threads; by default the fastest on this machine."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of matrix products; weights stay in float32. auto chooses the faster one."""
    compile: Literal["auto", "on", "off"] = "auto"
    """Compile the model's blocks; auto does if a C++ compiler (CPU) or Triton (GPU) is installed."""
    decoder: Literal["auto", "compiled", "torch"] = "auto"
    """What writes tokens on a CPU in float32: a compiled function in C, or PyTorch, several times slower; auto compiles if
    there is a C compiler."""
    threads: Few | None = None
    """CPU threads; by default OMP_NUM_THREADS, or one per available core."""


@dataclass(frozen=True)
class Runtime:
    """The chosen device, precision and threads. A run records them, so that it resumes with the same arithmetic."""

    device: torch.device
    compute_dtype: torch.dtype
    compiles: bool
    threads: int
    flops_per_second: float
    """Measured speed of a matrix product in `compute_dtype`."""
    decoder: Literal["compiled", "torch"] = "torch"
    """What writes tokens: the two round differently."""

    def __str__(self) -> str:
        compiled = "compiled" if self.compiles else "not compiled"
        precision = str(self.compute_dtype).removeprefix("torch.")
        return f"{self.device.type}, {precision} at {format_speed(self.flops_per_second)}, {compiled}"

    def place(self, *models: Any) -> None:
        """Move models to the device and set their compute precision."""
        for model in models:
            model.to(self.device)
            model.compute_dtype = self.compute_dtype
            model.decoder = self.decoder

    def to_table(self) -> dict[str, str | bool | int | float]:
        """Return a JSON-ready table; `restore_runtime` reads it back."""
        return {
            "device": str(self.device),
            "precision": str(self.compute_dtype).removeprefix("torch."),
            "compiles": self.compiles,
            "threads": self.threads,
            "flops_per_second": self.flops_per_second,
            "decoder": self.decoder,
        }


def for_varying_lengths(config: RuntimeConfig) -> RuntimeConfig:
    """Return the settings for batches that vary in length: not compiled, and on a CPU in float32 unless set otherwise.

    Every length would be compiled anew; and oneDNN compiles and keeps a bfloat16 product for each, which took more
    memory and more time than float32 (benchmarks/README.md). Raises UserError where compiling is asked for.
    """
    if config.compile == "on":
        raise UserError("compile is on: this stage cannot be compiled, since its batches vary in length.")
    if config.precision == "auto" and choose_device(config.device).type == "cpu":
        config = replace(config, precision="float32")
    return replace(config, compile="off")


def start_runtime(config: RuntimeConfig) -> Runtime:
    """Set the number of threads and choose device, precision and decoder.

    Raises UserError for a missing device, and for a decoder that cannot be compiled.
    """
    # OpenMP has read OMP_NUM_THREADS by now: whoever sets it means it.
    by_default = torch.get_num_threads if "OMP_NUM_THREADS" in os.environ else available_cores
    threads = config.threads or by_default()
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision("high")  # TF32 on a GPU; no change on a CPU
    device = choose_device(config.device)
    names = list(DTYPES) if config.precision == "auto" else [config.precision]
    if device.type == "cuda" and config.precision == "auto":
        names = ["bfloat16" if torch.cuda.is_bf16_supported() else "float32"]
    speeds = {name: matmul_speed(device, DTYPES[name]) for name in names}
    # bfloat16 costs a little loss to rounding, so it must be clearly faster.
    name = "bfloat16" if speeds.get("bfloat16", 0) > 1.2 * speeds.get("float32", 0) else "float32"
    return Runtime(
        device=device,
        compute_dtype=DTYPES[name],
        compiles=config.compile == "on" or (config.compile == "auto" and can_compile(device)),
        threads=threads,
        flops_per_second=speeds[name],
        decoder=choose_decoder(config.decoder, device, DTYPES[name]),
    )


def restore_runtime(table: Mapping[str, Any]) -> Runtime:
    """Return the runtime that `to_table` stored, and set its number of threads.

    Raises UserError if the table is damaged or this machine lacks the device.
    """
    try:
        device, dtype = choose_device(table["device"]), DTYPES[table["precision"]]
        runtime = Runtime(
            device=device,
            compute_dtype=dtype,
            compiles=table["compiles"],
            threads=table["threads"],
            flops_per_second=table["flops_per_second"],
            decoder=choose_decoder(table.get("decoder", "torch"), device, dtype),
        )
    except KeyError as error:
        raise UserError(
            f"The runtime in run.json is damaged (no {error}); choose another run directory."
        ) from None
    torch.set_num_threads(runtime.threads)
    torch.set_float32_matmul_precision("high")
    return runtime


def choose_device(name: str) -> torch.device:
    """Return the named device, or the best available one for "auto". Raises UserError if it is missing."""
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        name = next(kind for kind, is_there in available.items() if is_there)
    if not available.get(name):
        found = ", ".join(kind for kind, is_there in available.items() if is_there)
        raise UserError(f"device {name}: not available on this machine; choose from auto, {found}.")
    return torch.device(name)


def choose_decoder(name: str, device: torch.device, dtype: torch.dtype) -> Literal["compiled", "torch"]:
    """Return what writes tokens, or for "auto" the faster one there is. Raises UserError for what there is not."""
    if name != "torch" and device.type == "cpu" and dtype is torch.float32 and decoder() is not None:
        return "compiled"
    if name == "compiled":
        raise UserError(
            "decoder compiled: it needs a CPU, float32, and a C compiler that works (folio doctor); choose torch or auto."
        )
    return "torch"


def available_cores() -> int:
    """Return the number of cores that this process may use, within its affinity and its container's limit."""
    process = psutil.Process()
    # macOS has no affinity.
    cores = len(process.cpu_affinity() or ()) if hasattr(process, "cpu_affinity") else os.cpu_count()
    cores = cores or 1
    quota, *period = _cgroup("cpu.max").split()
    return cores if quota == "max" else max(1, min(cores, round(int(quota) / int(period[0]))))


def can_compile(device: torch.device) -> bool:
    """Return whether torch.compile works here: on a CPU it needs a C++ compiler, on a GPU Triton."""
    if device.type == "cpu":
        return any(shutil.which(name) for name in (os.environ.get("CXX", "g++"), "g++", "clang++"))
    if device.type == "cuda":
        import importlib.util

        return importlib.util.find_spec("triton") is not None
    return False


def matmul_speed(device: torch.device, dtype: torch.dtype) -> float:
    """Return the floating-point operations per second of a square matrix product.

    The best of several, as other processes may be using the device.
    """
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
            break  # the processor emulates this precision
    return float(2 * size**3 / min(seconds))


def synchronize(device: torch.device) -> None:
    """Wait until the device has finished its queued work, as before reading a clock."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    elif device.type == "mps":
        torch.mps.synchronize()


def peak_memory(device: torch.device) -> int:
    """Return the peak memory in bytes: that allocated on the GPU, or that of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    try:
        import resource
    except ImportError:  # Windows, the only system on which psutil reports the peak
        memory = psutil.Process().memory_info()
        return int(getattr(memory, "peak_wset", memory.rss))
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def describe(device: torch.device) -> str:
    """Return the name of the GPU, or the processor and its cores."""
    if device.type == "cuda":
        return torch.cuda.get_device_name()
    return f"{_cpu_name()}, {available_cores()} cores"


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):  # not Linux, or a processor without a model name
        return platform.processor() or platform.machine()


def available_memory(device: torch.device) -> int:
    """Return the free memory in bytes: on the GPU, or on the machine within the container's limit."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info()[0]
    free = psutil.virtual_memory().available
    limit = _cgroup("memory.max")
    return free if limit == "max" else max(0, min(free, int(limit) - int(_cgroup("memory.current"))))


def _cgroup(name: str) -> str:
    """Return a limit of this process's container, or "max" if there is none."""
    try:
        return Path("/sys/fs/cgroup", name).read_text().strip() or "max"
    except OSError:
        return "max"
