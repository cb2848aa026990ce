"""How busy this machine's processors and GPUs are."""

from __future__ import annotations

import shutil
import subprocess
import time

import psutil

POLL_SECONDS = 2.0


class DeviceUse:
    """Reads the system's counters, at most every two seconds; says nothing of GPUs where there are none."""

    def __init__(self) -> None:
        self._smi = shutil.which("nvidia-smi")
        self._polled = float("-inf")
        self._text = ""
        psutil.cpu_percent()  # each call tells of the time since the last one of its thread, the first one tells 0

    def text(self) -> str:
        """``cpu 97 %, gpu 88 % (3.1 of 79.6 GiB)``: the means over all cores, and over all GPUs, of this machine."""
        now = time.monotonic()
        if now - self._polled >= POLL_SECONDS:
            self._polled = now
            self._text = ", ".join(filter(None, [self._cpu(), self._gpu()]))
        return self._text

    def _cpu(self) -> str:
        busy = psutil.cpu_percent()
        return f"cpu {busy:.0f} %" if busy else ""

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
