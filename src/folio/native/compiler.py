"""Build what is written in C, once, with the system's compiler, and load it. Nothing needs it: PyTorch does the same, slower."""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from importlib import resources
from pathlib import Path

import pooch
import torch

COMPILERS = ("cc", "gcc", "clang", "g++", "clang++")
FLAGS = ("-x", "c", "-std=gnu11", "-O3", "-ffp-contract=fast", "-fPIC", "-shared")
INSTRUCTIONS = {"AVX512": ("-mavx512f", "-mavx512vl", "-mfma"), "AVX2": ("-mavx2", "-mfma")}
"""By what PyTorch calls the processor; on any other, those that all of its kind have. They are named, and not "native", since
machines may share a home directory."""
THREADS = ("-fopenmp",)
SIGNATURES = {
    "folio_read": "ppipppiipp",
    "folio_logits": "pipipp",
    "folio_draw": "iippppppp",
    "folio_memory": "piii",
    "folio_pack": "iipp",
    "folio_panel": "",
}
"""The functions of decoder.c, and their arguments: pointers and integers of 64 bits. Those that return anything return such an
integer."""


SECONDS = 60
"""Most that a compiler may take: it takes one."""


@cache
def decoder() -> ctypes.CDLL | None:
    """Return the functions of decoder.c, or None where it cannot be compiled: `problem` says why."""
    try:
        return load()
    except (OSError, AttributeError, subprocess.SubprocessError):
        return None


def problem() -> str:
    """Return why there is no decoder, in a line, or "" where there is one."""
    try:
        load()
    except subprocess.CalledProcessError as error:
        return f"{error.cmd[0]} fails: {error.stderr.decode(errors='replace').strip()[-300:]}"
    except (OSError, AttributeError, subprocess.SubprocessError) as error:
        return str(error)
    return ""


def load() -> ctypes.CDLL:
    """Compile decoder.c, unless the user's cache has it, and load it. Raises what `build` does, and OSError for what is no library."""
    source = resources.files("folio.native").joinpath("decoder.c").read_bytes()
    try:
        library = ctypes.CDLL(str(build(source, Path(pooch.os_cache("folio")) / "native")))
    except OSError:  # nothing can be written or run there: for this process alone
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            library = ctypes.CDLL(str(build(source, Path(folder))))
    types = {"p": ctypes.c_void_p, "i": ctypes.c_int64}
    for name, arguments in SIGNATURES.items():
        function = getattr(library, name)
        function.argtypes, function.restype = [types[each] for each in arguments], ctypes.c_int64
    return library


def build(source: bytes, folder: Path) -> Path:
    """Compile a C file to a library in a folder, unless it is there already, and return its path.

    Raises OSError where there is no compiler or no room, and SubprocessError where all compilers fail.
    """
    flags = (*FLAGS, *INSTRUCTIONS.get(torch.backends.cpu.get_cpu_capability(), ()))
    system = (sys.platform, platform.machine(), *platform.libc_ver())
    digest = hashlib.sha256(b"\0".join([source, *map(str.encode, (*flags, *system))])).hexdigest()
    library = folder / f"{digest[:16]}.so"
    if not library.exists():
        compilers = [path for name in COMPILERS if (path := shutil.which(name))]
        if not compilers:
            raise FileNotFoundError(f"no compiler: none of {', '.join(COMPILERS)} is installed")
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as directory:
            made = Path(directory) / library.name
            _compile(compilers, [*flags, "-o", str(made), "-", "-lm"], source)
            with made.open("r+b") as file:
                os.fsync(file.fileno())  # a library that was cut off would end the process that uses it
            os.replace(made, library)
    return library


def _compile(compilers: Sequence[str], arguments: Sequence[str], source: bytes) -> None:
    """Compile with the first compiler that can. Raises SubprocessError, of the first one, where none can."""
    problems = []
    for compiler in compilers:
        for threads in (THREADS, ()):  # a compiler without OpenMP: one thread does all
            try:
                subprocess.run(
                    [compiler, *arguments, *threads],
                    input=source,
                    capture_output=True,
                    check=True,
                    timeout=SECONDS,
                )
                return
            except (OSError, subprocess.SubprocessError) as error:
                problems.append(error)
    raise problems[0]
