"""The machine and how it is used."""

import sys
from dataclasses import replace

import pytest
import torch

import folio.runtime
from folio.errors import UserError
from folio.runtime import (
    Runtime,
    RuntimeConfig,
    available_cores,
    available_memory,
    can_compile,
    choose_device,
    describe,
    for_varying_lengths,
    matmul_speed,
    peak_memory,
    restore_runtime,
    start_runtime,
)

CPU = torch.device("cpu")


@pytest.fixture
def speeds(monkeypatch):
    """Matrix speeds that the machine is made to have."""
    speeds = {torch.float32: 1e9, torch.bfloat16: 3e9}
    monkeypatch.setattr(folio.runtime, "matmul_speed", lambda device, dtype: speeds[dtype])
    return speeds


ON_CPU = RuntimeConfig(device="cpu", compile="off", threads=1)


def test_the_faster_precision_is_taken_if_it_is_worth_it(speeds):
    assert start_runtime(ON_CPU).compute_dtype is torch.bfloat16
    speeds[torch.bfloat16] = 1.1e9
    runtime = start_runtime(ON_CPU)
    assert runtime.compute_dtype is torch.float32
    assert runtime.flops_per_second == 1e9


def test_what_is_asked_for_is_taken(speeds):
    assert start_runtime(replace(ON_CPU, precision="float32")).compute_dtype is torch.float32
    speeds[torch.bfloat16] = 1.0
    runtime = start_runtime(replace(ON_CPU, precision="bfloat16", compile="on"))
    assert runtime.compute_dtype is torch.bfloat16
    assert runtime.compiles
    assert torch.get_num_threads() == 1


def test_a_runtime_is_restored(speeds):
    runtime = start_runtime(ON_CPU)
    assert restore_runtime(runtime.to_table()) == runtime
    assert "bfloat16" in str(runtime)


@pytest.mark.parametrize("threads", [0, -1])
def test_threads_out_of_range_are_refused(threads):
    with pytest.raises(UserError, match=f"threads is {threads}"):
        RuntimeConfig(threads=threads)


def test_a_device_that_is_not_there_is_the_users_to_mend(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(UserError, match=r"device cuda: not available on this machine; choose from auto, cpu"):
        choose_device("cuda")
    assert choose_device("auto") == CPU


def test_without_a_compiler_nothing_is_compiled(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    assert not can_compile(CPU)
    compiler = tmp_path / "g++"
    compiler.write_text("#!/bin/sh\n")
    compiler.chmod(0o755)
    assert can_compile(CPU)


def test_peak_memory_is_known_without_the_resource_module(monkeypatch):
    monkeypatch.setitem(sys.modules, "resource", None)
    assert peak_memory(CPU) > 1e6


def test_what_the_machine_says_of_itself():
    assert available_cores() >= 1
    assert available_memory(CPU) > 1e6
    assert peak_memory(CPU) > 1e6
    assert "core" in describe(CPU)
    assert matmul_speed(CPU, torch.float32) > 1e6
    assert isinstance(Runtime(CPU, torch.float32, False, 1, 1.0), Runtime)


def test_lengths_that_vary_are_computed_in_float32_on_a_cpu_and_not_compiled():
    chosen = for_varying_lengths(RuntimeConfig(device="cpu"))
    assert (chosen.precision, chosen.compile) == ("float32", "off")
    assert for_varying_lengths(RuntimeConfig(device="cpu", precision="bfloat16")).precision == "bfloat16"
    with pytest.raises(UserError, match="cannot be compiled"):
        for_varying_lengths(RuntimeConfig(compile="on"))


def test_whoever_sets_omp_num_threads_means_it(speeds, monkeypatch):
    before = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", str(before))  # OpenMP itself has read it when the process began
    assert start_runtime(replace(ON_CPU, threads=None)).threads == before
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert start_runtime(replace(ON_CPU, threads=None)).threads == available_cores()
    torch.set_num_threads(before)
