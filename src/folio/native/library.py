"""Build what is written in C, once, with the system's compiler, and load it. Nothing needs it: PyTorch does the same, slower."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
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


@cache
def decoder() -> ctypes.CDLL | None:
    """Return the functions of decoder.c, or None where no compiler is found or it fails."""
    source = resources.files("folio.native").joinpath("decoder.c").read_bytes()
    try:
        library = ctypes.CDLL(str(build(source, Path(pooch.os_cache("folio")) / "native")))
    except (OSError, subprocess.SubprocessError):
        return None
    types = {"p": ctypes.c_void_p, "i": ctypes.c_int64}
    for name, arguments in SIGNATURES.items():
        function = getattr(library, name)
        function.argtypes, function.restype = [types[each] for each in arguments], ctypes.c_int64
    return library


def build(source: bytes, folder: Path) -> Path:
    """Compile a C file to a library in a folder, unless it is there already, and return its path.

    Raises OSError where there is no compiler or no room, and CalledProcessError where the compiler fails.
    """
    flags = (*FLAGS, *INSTRUCTIONS.get(torch.backends.cpu.get_cpu_capability(), ()))
    digest = hashlib.sha256(b"\0".join([source, *map(str.encode, flags)])).hexdigest()
    library = folder / f"{digest[:16]}.so"
    if not library.exists():
        compiler = next(filter(None, map(shutil.which, COMPILERS)), None)
        if compiler is None:
            raise FileNotFoundError(f"no compiler: none of {', '.join(COMPILERS)} is installed")
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as directory:
            made = Path(directory) / library.name
            command = [compiler, *flags, "-o", str(made), "-", "-lm"]
            try:
                _run([*command, *THREADS], source)
            except subprocess.CalledProcessError:
                _run(command, source)  # a compiler without OpenMP: one thread does all
            os.replace(made, library)
    return library


def _run(command: Sequence[str], source: bytes) -> None:
    subprocess.run(command, input=source, capture_output=True, check=True)
