"""Where a sweep's figures come from: commits, versions, hardware, data, command line."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import sweeper
from sweeper.custom_code import source_digests, source_file
from sweeper.text import printable

_OF_ANOTHER_REPOSITORY = frozenset({"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_PREFIX"})
"""Variables by which a git hook that starts us would have git answer for its own repository, wherever it is asked."""

_GPU_DRIVERS = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")
"""What the drivers of NVIDIA, of GPUs under WSL, and of AMD show."""

PACKAGES = ("torch", "torchvision", "ray", "optuna", "numpy", "pandas", "pyarrow", "scipy")


def provenance(
    command: Sequence[str], dataset: dict[str, Any], model: object, custom_code: Sequence[str], space_file: str | None = None
) -> dict[str, Any]:
    """What a stranger needs to judge and repeat a run.

    ``dataset``: name, fingerprint and sizes of the data that was trained on, with the mean and deviation that it was normalised by.
    ``model``: its name and number of weights, or a list of those. ``custom_code``: import paths of the user's own losses and model.
    ``space_file``: where the space was read from, if from a file.
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
        "own_code": source_digests(custom_code),
        "repositories": repositories(_users_files(custom_code, space_file)),
    }


def package_versions() -> dict[str, str]:
    """Installed versions of the packages that figures depend on."""
    return {name: metadata.version(name) for name in PACKAGES}


def hardware() -> dict[str, Any]:
    """Processor, cores that this process may use, memory in bytes, and GPUs by name."""
    return {
        "cpu": processor(),
        "cores": available_cores(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "gpus": gpu_names(),
        "platform": platform.platform(),
    }


def has_gpu_driver() -> bool:
    """Whether the driver of a device that PyTorch could use is here: where it is not, PyTorch, slow to load, need not be asked."""
    return any(Path(device).exists() for device in _GPU_DRIVERS)


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


def gpu_names() -> list[str]:
    """Names of the NVIDIA GPUs of this machine that CUDA_VISIBLE_DEVICES leaves to this process.

    The driver's own program is asked: torch would open a context, which takes some hundred MB of the GPU from the trials.
    """
    query = ["nvidia-smi", "--query-gpu=index,uuid,name", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, errors="replace", timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    rows = [[cell.strip() for cell in line.split(",", 2)] for line in done.stdout.splitlines()] if done.returncode == 0 else []
    gpus = [(row[0], row[1], row[2]) for row in rows if len(row) == 3]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return [name for *_, name in gpus]
    names = []
    for wanted in map(str.strip, visible.split(",")):
        if wanted.startswith("MIG-"):
            names.append("a part of an NVIDIA GPU (MIG)")
            continue
        found = [name for index, uuid, name in gpus if wanted == index or (wanted.startswith("GPU-") and uuid.startswith(wanted))]
        if len(found) != 1:
            break  # CUDA sees none of those behind one that is not there
        names += found
    return names


IN_NO_REPOSITORY = "in no git repository"


def git_state() -> dict[str, Any]:
    """Commit and dirty flag of the checkout that sweeper runs from; both ``None`` where it runs from an installed wheel."""
    folder = Path(sweeper.__file__).parent
    if not _is_tracked(folder / "__init__.py"):
        return {"git_commit": None, "git_dirty": None}
    return {"git_commit": _git(folder, "rev-parse", "HEAD"), "git_dirty": _is_dirty(folder)}


def repositories(files: Mapping[str, Path]) -> list[dict[str, Any]]:
    """The git repositories in which the user's files lie, by what each is called; a folder among them asks for its repository alone.

    Of each repository: ``root``; ``commit``, ``None`` before the first; ``dirty``, whether tracked files differ from it; ``holds``, what of
    the user's lies there; ``untracked``, those of them that no commit holds, whatever git ignores. A submodule is a repository of its own.
    What lies in no repository comes last, with that as ``problem``, or the reason why it is not known: git's own words, or that git is not
    installed.
    """
    found: dict[str, dict[str, Any]] = {}
    outside: list[dict[str, Any]] = []
    for name, path in files.items():
        folder = path if path.is_dir() else path.parent
        done = _run_git(folder, "rev-parse", "--show-toplevel")
        if isinstance(done, str) or done.returncode:
            problem = done if isinstance(done, str) else (done.stderr.strip().splitlines() or ["git failed"])[0]
            if problem.startswith("fatal: not a git repository"):
                problem = IN_NO_REPOSITORY
            same = next((each for each in outside if each["problem"] == problem), None)
            if same is None:
                outside.append({"root": None, "holds": [name], "problem": problem})
            else:
                same["holds"].append(name)
            continue
        root = done.stdout.rstrip("\n")
        if root not in found:
            commit = _git(folder, "rev-parse", "--verify", "--quiet", "HEAD")
            found[root] = {"root": root, "commit": commit, "dirty": _is_dirty(folder), "holds": [], "untracked": []}
        found[root]["holds"].append(name)
        if not path.is_dir() and not _is_tracked(path):
            found[root]["untracked"].append(name)
    return [*found.values(), *outside]


def hardware_text(provenance: Mapping[str, Any]) -> str | None:
    """``2 cores of Intel Xeon, NVIDIA H100`` from a stored provenance; ``None`` where there is nothing of the kind."""
    found = provenance.get("hardware")
    if not isinstance(found, dict):
        return None
    names = [f"{found['cores']} cores of {found['cpu']}"] if {"cores", "cpu"} <= found.keys() else []
    names += map(str, found["gpus"]) if isinstance(found.get("gpus"), list) else []
    return printable(", ".join(names)) or None


def repository_lines(repositories: Any) -> list[str]:
    """A line for each repository of a stored provenance, as :func:`repositories` gave it; none where there is nothing of the kind."""
    lines = []
    for each in repositories if isinstance(repositories, list) else []:
        if not isinstance(each, dict):
            continue
        holds, untracked = (", ".join(map(str, each[key])) if isinstance(each.get(key), list) else "" for key in ("holds", "untracked"))
        if each.get("root") is None:
            problem = each.get("problem")
            lines.append(f"{IN_NO_REPOSITORY} ({holds})" if problem == IN_NO_REPOSITORY else f"{holds}: not known: {problem}")
            continue
        commit = str(each["commit"])[:12] if each.get("commit") else "no commit yet"
        changes = ", with changes" if each.get("dirty") else ""
        lines.append(f"{commit}{changes} in {each['root']} ({holds}){f'; not tracked: {untracked}' if untracked else ''}")
    return lines


def _users_files(custom_code: Sequence[str], space_file: str | None) -> dict[str, Path]:
    files = {"working folder": Path.cwd()}
    if space_file is not None and Path(space_file).is_file():
        files[f"space file {space_file}"] = Path(space_file).absolute()
    return files | {path: file for path in custom_code if (file := source_file(path)) is not None}


def _is_tracked(file: Path) -> bool:
    return _git(file.parent, "ls-files", "--error-unmatch", "--", file.name) is not None


def _is_dirty(folder: Path) -> bool | None:
    status = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return bool(status) if status is not None else None


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints, or ``None`` where it fails."""
    done = _run_git(folder, *arguments)
    return None if isinstance(done, str) or done.returncode else done.stdout.strip()


def _run_git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str] | str:
    """A finished git, or why there is none. It changes nothing in the repository, and starts no program that the repository names."""
    environment = {name: value for name, value in os.environ.items() if name not in _OF_ANOTHER_REPOSITORY} | {"LC_ALL": "C"}
    command = ["git", "--no-optional-locks", "-c", "core.fsmonitor=false", "-C", str(folder), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=10, check=False, env=environment)
    except FileNotFoundError:
        return "git is not installed"
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"git cannot be asked: {error}"


def command_line() -> list[str]:
    """The command as a user would type it again."""
    program = Path(sys.argv[0]).name if sys.argv else "sweep"
    return ["sweep" if program in {"sweep", "__main__.py"} else program, *sys.argv[1:]]
