"""How busy this machine's processors and GPUs are."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

POLL_SECONDS = 2.0


class DeviceUse:
    """Reads the system's counters, at most every two seconds. Says nothing where the system has none."""

    def __init__(self) -> None:
        self._smi = shutil.which("nvidia-smi")
        self._polled = float("-inf")
        self._ticks = _cpu_ticks()
        self._text = ""

    def text(self) -> str:
        """``cpu 97 %, gpu 88 % (3.1 of 79.6 GiB)``: the means over all cores, and over all GPUs, of this machine."""
        now = time.monotonic()
        if now - self._polled >= POLL_SECONDS:
            self._polled = now
            self._text = ", ".join(filter(None, [self._cpu(), self._gpu()]))
        return self._text

    def _cpu(self) -> str:
        before, self._ticks = self._ticks, _cpu_ticks()
        if before is None or self._ticks is None or self._ticks[1] <= before[1]:
            return ""
        busy = (self._ticks[0] - before[0]) / (self._ticks[1] - before[1])
        return f"cpu {100 * busy:.0f} %"

    def _gpu(self) -> str:
        if self._smi is None:
            return ""
        query = [self._smi, "--query-gpu=utilization.gpu,memory.used,memory.total", "--format=csv,noheader,nounits"]
        try:
            done = subprocess.run(query, capture_output=True, text=True, timeout=5, check=False)
            rows = [[float(cell) for cell in line.split(",")] for line in done.stdout.splitlines() if line.strip()]
        except (OSError, subprocess.TimeoutExpired, ValueError):
            self._smi = None  # a driver that does not answer would be asked again and again
            return ""
        if done.returncode or not rows:
            self._smi = None
            return ""
        use, used, total = (sum(column) for column in zip(*rows, strict=True))
        return f"gpu {use / len(rows):.0f} % ({used / 1024:.1f} of {total / 1024:.1f} GiB)"


def _cpu_ticks() -> tuple[int, int] | None:
    """Busy and all ticks of all cores since the machine started (Linux)."""
    try:
        first, _, _ = Path("/proc/stat").read_text().partition("\n")
    except OSError:
        return None
    ticks = [int(part) for part in first.split()[1:9]]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)
