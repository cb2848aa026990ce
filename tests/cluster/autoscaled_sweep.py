"""Runs on a host: a sweep of stubs that want a GPU, on a cluster that has none until its autoscaler starts some. Prints what it saw.

The autoscaler is Ray's own; its provider is Ray's fake one, whose machines are more Ray nodes on this host.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import sweeper.tune.session  # noqa: F401  (sets what Ray reads when it is imported)

import ray  # isort: skip

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
from scaling import measure

from sweeper.tune.autoscaler import BOOTSTRAP_FILE
from sweeper.tune.session import ray_session

_HEAD_ID = "fffffffffffffffffffffffffffffffffffffffffffffffffff00000"


def main() -> None:
    config = {
        "cluster_name": "fake",
        "max_workers": 2,
        "provider": {"type": "fake_multinode", "launch_multiple": True, "head_node_id": _HEAD_ID},
        "available_node_types": {
            "head": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            "l4": {"resources": {"CPU": 1, "GPU": 1}, "node_config": {}, "min_workers": 0, "max_workers": 2},
        },
        "head_node_type": "head",
        "upscaling_speed": 8.0,
        "idle_timeout_minutes": 0.1,
    }
    BOOTSTRAP_FILE.expanduser().write_text(json.dumps(config))
    fake = {
        "RAY_FAKE_CLUSTER": "1",
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
        "RAY_enable_autoscaler_v2": "1",
        "RAY_CLOUD_INSTANCE_ID": _HEAD_ID,
        "RAY_OVERRIDE_NODE_ID_FOR_TESTING": _HEAD_ID,
        "PYTHONPATH": sys.path[0],
    }
    command = (
        f"ray start --head --port=6379 --num-cpus=0 --num-gpus=0 --object-store-memory=100000000 --autoscaling-config={BOOTSTRAP_FILE}"
    )
    subprocess.run(["bash", "-c", command], check=True, env=os.environ | fake, stdout=subprocess.DEVNULL)
    said: list[str] = []
    with ray_session("auto") as cluster:
        capacity = cluster.capacity(1, "auto", "s3://nowhere/sweeps", said.append)
        before = {"gpus": capacity.gpus, "packs": capacity.n_packs, "cluster": ray.cluster_resources().get("GPU", 0)}
        figures = measure(gpus=2, trials=16, epochs=4, epoch_seconds=0.5, sampler="random", capacity=capacity)
        after = {"cluster": ray.cluster_resources().get("GPU", 0)}
    print(json.dumps({"before": before, "after": after, "trials": figures["trials"], "processes": figures["processes"], "said": said}))  # noqa: T201


main()
