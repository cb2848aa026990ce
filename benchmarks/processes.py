"""A command with its wall time and the memory of all its processes."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

POLL_SECONDS = 0.5
GONE = (FileNotFoundError, ProcessLookupError, PermissionError)
"""What a process that ends while it is looked at raises."""


@dataclass(frozen=True, slots=True)
class Finished:
    """Wall seconds of a command, what it printed, and the most memory that it and its descendants held at once, where Linux tells it."""

    seconds: float
    output: str
    peak_memory_bytes: int | None


def timed(command: Sequence[object]) -> Finished:
    """Run ``python -m`` with these arguments to its end.

    Raises:
        RuntimeError: if it fails, with what it said.
    """
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", *map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8"
    )
    peak = 0
    while True:
        try:
            output, errors = process.communicate(timeout=POLL_SECONDS)
            break
        except subprocess.TimeoutExpired:
            peak = max(peak, memory_bytes(process.pid))
    seconds = time.perf_counter() - started
    if process.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))} ended with {process.returncode}:\n{errors[-2000:]}")
    return Finished(seconds, output, peak or None)


def memory_bytes(root: int) -> int:
    """Memory of a process and its descendants; pages that several of them share (the data set in Ray's object store) count once."""
    if not Path("/proc/self/smaps_rollup").exists():
        return 0
    parents: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int(folder.joinpath("stat").read_text().rpartition(")")[2].split()[1])
        except GONE:
            continue
    family = {root}
    while more := {child for child, parent in parents.items() if parent in family} - family:
        family |= more
    total = 0
    for member in family:
        try:
            lines = Path(f"/proc/{member}/smaps_rollup").read_text().splitlines()
        except GONE:
            continue
        total += sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total
