"""The machine: what it has, and its ceilings: matrix products, copies, kernel launches."""

from __future__ import annotations

import platform
import shutil
import subprocess
import time
from collections.abc import Callable
from importlib.metadata import version

import torch

from benchmarks.gpu.run import Run, spread
from sweeper.store.provenance import available_cores, git_state, package_versions, processor


def measure(run: Run) -> None:
    """What figures of the other steps are read with."""
    versions = package_versions() | {"numba": version("numba")}
    run.record("machine", what="commit", value="{git_commit}, dirty: {git_dirty}".format(**git_state()))
    run.record("machine", what="processor", value=f"{available_cores()} cores of {processor()}")
    run.record(
        "machine", what="versions", value=", ".join([f"Python {platform.python_version()}", *(f"{k} {v}" for k, v in versions.items())])
    )
    run.record("machine", what="device", value="none: the CPU" if run.rehearsal else device_text())
    ceilings(run)
    launches(run)


def device_text() -> str:
    """Name, driver and libraries of the GPU."""
    properties = torch.cuda.get_device_properties(0)
    driver = "driver not known: no nvidia-smi"
    if smi := shutil.which("nvidia-smi"):
        query = "driver_version,clocks.max.sm,power.limit,mig.mode.current"
        done = subprocess.run(
            [smi, f"--query-gpu={query}", "--format=csv,noheader"], capture_output=True, text=True, timeout=20, check=False
        )
        driver = f"driver, highest clock, power limit, MIG: {(done.stdout or done.stderr).strip()}"
    return (
        f"{properties.name}, {properties.multi_processor_count} multiprocessors, {properties.total_memory / 2**30:.1f} GiB; {driver}; "
        f"CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"
    )


def seconds(run: Run, work: Callable[[], object], repeats: int) -> list[float]:
    """Seconds of each of so many calls, by the device's own clock where it has one, after one that is not counted."""
    work()
    run.synchronise()
    times = []
    for _ in range(repeats):
        if run.rehearsal:
            started = time.perf_counter()
            work()
            times.append(time.perf_counter() - started)
            continue
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        work()
        end.record()
        torch.cuda.synchronize()
        times.append(begin.elapsed_time(end) / 1e3)
    return times


def ceilings(run: Run) -> None:
    """Operations a second of large matrix products, and bytes a second of a copy, read and written."""
    n, size = (256, 2**20) if run.rehearsal else (8192, 2**30)
    tf32_before = torch.backends.cuda.matmul.allow_tf32
    for name, dtype, tf32 in (("fp32", torch.float32, False), ("tf32", torch.float32, True), ("bf16", torch.bfloat16, False)):
        left, right = (torch.randn(n, n, device=run.device).to(dtype) for _ in range(2))
        torch.backends.cuda.matmul.allow_tf32 = tf32
        rates = [2 * n**3 / each for each in seconds(run, lambda a=left, b=right: torch.mm(a, b), 7)]  # type: ignore[misc]
        run.record("ceilings", name=name, what=f"matrix product {name}, {n}³", unit="TFLOP/s", scale=1e12, **spread(rates))
    torch.backends.cuda.matmul.allow_tf32 = tf32_before
    source, target = torch.rand(size // 4, device=run.device), torch.empty(size // 4, device=run.device)
    rates = [2 * size / each for each in seconds(run, lambda: target.copy_(source), 9)]
    run.record("ceilings", name="copy", what="copy within the device, read and written", unit="TB/s", scale=1e12, **spread(rates))


def launches(run: Run) -> None:
    """What a small kernel costs, from Python and in a CUDA graph."""
    x, n = torch.zeros(128, device=run.device), 200 if run.rehearsal else 2000

    def kernels() -> None:
        for _ in range(n):
            x.add_(1)

    times = {"from Python": seconds(run, kernels, 5)}
    if not run.rehearsal:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            kernels()
        times["in a CUDA graph"] = seconds(run, graph.replay, 5)
    for name, found in times.items():
        run.record("ceilings", name=name, what=f"a small kernel {name}", unit="µs", scale=1e-6, **spread([each / n for each in found]))
