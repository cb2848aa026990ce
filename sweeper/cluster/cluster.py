"""The Ray that a sweep runs on: what it may grow to, and whether its nodes can do the sweep's work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import ray

from sweeper.cluster.autoscaler import Autoscaler, read_autoscaler
from sweeper.cluster.capacity import Capacity, Tell, alive_nodes
from sweeper.cluster.nodes import require_shared_results


@dataclass(frozen=True, slots=True)
class Cluster:
    """``joined``: whether others may use it too and nodes may come and go; a Ray of our own is this machine, for good."""

    joined: bool
    autoscaler: Autoscaler | None = None

    def require_shared_results(self, results: str) -> None:
        """Return if all nodes that are up can be given work whose results belong below ``results``.

        Raises:
            ClusterError: naming the first node that cannot, and the way out.
        """
        if self.joined:
            require_shared_results(results, alive_nodes(), growing=self.autoscaler is not None and not self.autoscaler.least)

    def capacity(self, cpus: float, gpus: float | Literal["auto"], results: str, tell: Tell) -> Capacity:
        """What a pack gets here, and how many are kept in work. ``auto``: one GPU if a node has any, or may have, else none.

        Raises:
            ClusterError: if no node, present or to come, can hold one pack, or one cannot see ``results``.
        """

        def check(nodes: Sequence[dict[str, Any]]) -> None:
            require_shared_results(results, nodes, growing=False)

        return Capacity(cpus, gpus, autoscaler=self.autoscaler, tell=tell, check=check if self.joined else None)


def joined_cluster() -> Cluster:
    """The cluster that this process has just joined. Only a driver on its head can read of its autoscaler."""
    ours = ray.get_runtime_context().get_node_id()
    on_head = any(node["NodeID"] == ours and "node:__internal_head__" in node["Resources"] for node in alive_nodes())
    return Cluster(joined=True, autoscaler=read_autoscaler() if on_head else None)
