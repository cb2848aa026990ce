"""``clusters/onprem.yaml`` with the lines marked ← filled in for hosts made of namespaces, which have no way to a package index."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

PROJECT = Path(__file__).resolve().parents[2]
_VENV = Path(sys.executable).parent.parent
_SMALL = "--object-store-memory=200000000"


def rendered(head: str, workers: Sequence[str], results: str, environment: str) -> str:
    """The file as YAML. The hosts share this machine's packages, so of the set-up only the project is installed."""
    content: dict[str, Any] = yaml.safe_load((PROJECT / "clusters" / "onprem.yaml").read_text())
    content["provider"] |= {"head_ip": head, "worker_ips": list(workers)}
    content["auth"]["ssh_user"] = "root"
    changes = {
        "SWEEP_RESULTS=": f"echo 'export SWEEP_RESULTS={results} {environment}' > ~/.sweeper-results",
        "astral.sh/uv": f"ln -sfn {_VENV} ~/venv",
        "uv venv": "test -x ~/venv/bin/python",
        "uv pip install": "python -m pip install --quiet --no-index --no-deps --no-build-isolation ~/sweeper",
    }
    content["setup_commands"] = [_changed(command, changes) for command in content["setup_commands"]]
    unused = [word for word in changes if not any(change == changes[word] for change in content["setup_commands"])]
    assert not unused, f"no set-up command has {unused} any more"
    # two cores for all: each worker trains one trial at a time
    content["head_start_ray_commands"] = [
        # by default a silent host is missed after 70 s
        command.replace("RAY_enable", "RAY_health_check_failure_threshold=3 RAY_enable").replace("--num-gpus=0", f"--num-gpus=0 {_SMALL}")
        for command in content["head_start_ray_commands"]
    ]
    content["worker_start_ray_commands"] = [
        command.replace("--block", f"--block --num-cpus=1 {_SMALL}") for command in content["worker_start_ray_commands"]
    ]
    return yaml.safe_dump(content, sort_keys=False, width=10_000)


def _changed(command: str, changes: dict[str, str]) -> str:
    return next((change for word, change in changes.items() if word in command), command)
