"""Where a sweep's figures come from: commit, versions, hardware, data, command line."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import sweeper
from sweeper.own_code import source_digests

PACKAGES = ("torch", "torchvision", "ray", "optuna", "numpy", "pandas", "pyarrow", "scipy")


def provenance(command: Sequence[str], dataset: dict[str, Any], model: dict[str, Any], own_code: Sequence[str]) -> dict[str, Any]:
    """What a stranger needs to judge and repeat a run.

    ``dataset``: name, fingerprint, sizes of the data that was trained on. ``model``: its name and number of weights. ``own_code``: import
    paths of the user's own losses and model.
    """
    return {
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(command),
        "sweeper": sweeper.__version__,
        **git_state(),
        "python": platform.python_version(),
        "packages": package_versions(),
        "hardware": hardware(),
        "dataset": dataset,
        "model": model,
        "own_code": source_digests(own_code),
    }


def package_versions() -> dict[str, str]:
    """Installed versions of the packages that figures depend on."""
    return {name: metadata.version(name) for name in PACKAGES}


def hardware() -> dict[str, Any]:
    """Processor, cores that this process may use, memory in bytes, and GPUs by name."""
    import torch

    return {
        "cpu": processor(),
        "cores": available_cores(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "gpus": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else [],
        "platform": platform.platform(),
    }


def available_cores() -> int:
    """Cores that this process may run on, which a container or taskset may have made fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> str:
    """Model name of the processor."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def git_state() -> dict[str, Any]:
    """Commit and dirty flag of the checkout that sweeper runs from; both ``None`` where it runs from an installed wheel."""
    folder = Path(sweeper.__file__).parent

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    if git("ls-files", "--error-unmatch", "__init__.py") is None:
        return {"git_commit": None, "git_dirty": None}
    status = git("status", "--porcelain", "--untracked-files=no")
    return {"git_commit": git("rev-parse", "HEAD"), "git_dirty": bool(status) if status is not None else None}


def command_line() -> list[str]:
    """The command as a user would type it again."""
    program = Path(sys.argv[0]).name if sys.argv else "sweep"
    return ["sweep" if program in {"sweep", "__main__.py"} else program, *sys.argv[1:]]
