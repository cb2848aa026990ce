"""A sweep on a cluster that has no GPU until trials wait for one, with Ray's own autoscaler, on a host of its own."""

from __future__ import annotations

import json
import subprocess

import pytest

from .hosts import Network, why_not
from .onprem import PROJECT

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


def test_a_sweep_waits_for_autoscaled_gpus_with_a_message_and_uses_them_all(tmp_path):
    if reason := why_not():
        pytest.skip(reason)
    keys = tmp_path / "keys"
    keys.mkdir()
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(keys / "id_ed25519")], check=True)
    with Network(tmp_path) as network:
        host = network.host("alone", "10.77.0.1", keys)
        lines = host.run(f"python {PROJECT}/tests/cluster/autoscaled_sweep.py", timeout=500).splitlines()
    found = json.loads(lines[-1])
    assert found["before"] == {"gpus": 1, "packs": 2, "cluster": 0}
    assert found["after"] == {"cluster": 2}
    assert found["trials"] == 16
    assert found["processes"] == 2
    assert found["said"][0] == (
        "waiting for a node with 1 CPU and 1 GPU: the cluster has 0 CPU and 0 GPU on 1 node; the autoscaler was asked for more (l4)"
    )
    assert any(line.startswith("more nodes have joined: room for") for line in found["said"])
