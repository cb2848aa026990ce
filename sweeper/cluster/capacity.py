"""How many packs a sweep runs at once: as many as fit on the cluster now, or as its autoscaler may make room for.

A pack without room is a pending placement group, and pending placement groups are what an autoscaler acts on. The limit is recomputed
throughout a sweep: nodes that join are used, nodes that are lost are waited for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

from sweeper.cluster.autoscaler import Autoscaler, packs_on
from sweeper.cluster.nodes import alive_nodes
from sweeper.cluster.ray_internals import free_resources
from sweeper.errors import ClusterError
from sweeper.text import plural

POLL_SECONDS = 5.0
SECONDS_BETWEEN_NOTICES = 60.0
SECONDS_FOR_FIRST_NODES = 900.0
"""How long nodes that come by themselves are waited for: installing torch on one takes minutes."""

Tell = Callable[[str], None]
Check = Callable[[Sequence[dict[str, Any]]], None]


class Capacity:
    """What one pack occupies, and how many are kept in work.

    ``autoscaler``: ``None`` where the nodes are all there are. ``check`` is called with nodes that have joined, and may raise.

    Raises:
        ClusterError: if no node, present or to come, can hold one pack.
    """

    def __init__(
        self,
        cpus: float,
        gpus: float | Literal["auto"],
        *,
        autoscaler: Autoscaler | None = None,
        tell: Tell = print,
        check: Check | None = None,
    ) -> None:
        self._autoscaler = autoscaler
        self._tell = tell
        self._check = check
        self._checked: set[str] = set()
        self._room: int | None = None
        self._looked = self._told = -SECONDS_BETWEEN_NOTICES
        self.cpus = cpus
        self.gpus = self._chosen_gpus() if gpus == "auto" else float(gpus)
        self._limit = 0
        self._wait_for_first_nodes()
        self._look()
        self._wait_for_room()

    @property
    def n_packs(self) -> int:
        """Packs to keep in work, those that wait for a node among them; looked up again when the last look is some seconds old.

        Raises:
            ClusterError: from ``check``, about a node that has joined.
        """
        if time.monotonic() - self._looked >= POLL_SECONDS:
            self._look()
        return self._limit

    def _look(self) -> None:
        nodes = alive_nodes()
        joined = [node for node in nodes if node["NodeID"] not in self._checked]
        if joined and self._check is not None:
            self._check(joined)
        self._checked |= {node["NodeID"] for node in joined}
        room = self._fitting(nodes)
        reach = self._reach(room, len(nodes) - 1)
        if not reach and self._room is None:
            raise ClusterError(self._nothing_fits(nodes))
        self._limit = max(reach, 1)  # where nodes were and are no more, one pack waits for them
        self._say(room, nodes)
        self._room = room
        self._looked = time.monotonic()

    def _reach(self, room: int, n_workers: int) -> int:
        if self._autoscaler is None:
            return room
        known = self._autoscaler.packs(self.cpus, self.gpus)
        # request twice as many nodes of unknown size as there are: the autoscaler has its own limit
        guessed = room + max(room, 1) if self._autoscaler.may_bring_unknown(n_workers) else 0
        return max(room, known, guessed)

    def _fitting(self, nodes: Sequence[dict[str, Any]]) -> int:
        return sum(packs_on(node["Resources"], self.cpus, self.gpus) for node in nodes)

    def _chosen_gpus(self) -> float:
        """One GPU if a node has one or can have one, else none. Waits while nodes are still coming that may have one."""
        started = time.monotonic()
        while not (self._autoscaler and self._autoscaler.has_gpus):
            nodes = alive_nodes()
            if any(node["Resources"].get("GPU", 0) > 0 for node in nodes):
                return 1.0
            if not self._awaited(len(nodes) - 1) or time.monotonic() - started > SECONDS_FOR_FIRST_NODES:
                return 0.0
            self._notice(f"waiting for the cluster's nodes, to see whether they have GPUs: {self._present(nodes)}")
            time.sleep(1)
        return 1.0

    def _wait_for_first_nodes(self) -> None:
        """Wait for a node that can hold a pack while nodes come by themselves: only a node that runs can be asked whether all is there."""
        started = time.monotonic()
        while not self._fitting(nodes := alive_nodes()) and self._awaited(len(nodes) - 1):
            if time.monotonic() - started > SECONDS_FOR_FIRST_NODES:
                return
            self._notice(f"waiting for a node with {self._wanted()}: {self._present(nodes)}")
            time.sleep(1)

    def _wait_for_room(self) -> None:
        """Wait until one pack fits into what others leave, who may be in this very process, and say so. An autoscaler brings more nodes."""
        while self._check is not None and self._autoscaler is None:
            free = free_resources()
            if any(packs_on(resources, self.cpus, self.gpus) for resources in free):
                return
            cpus, gpus = (sum(resources.get(name, 0.0) for resources in free) for name in ("CPU", "GPU"))
            self._notice(
                f"waiting for {self._wanted()} on one node: {self._present(alive_nodes())}, of which {cpus:g} CPU and {gpus:g} GPU are free"
            )
            time.sleep(1)

    def _awaited(self, n_workers: int) -> bool:
        return self._autoscaler is not None and n_workers < self._autoscaler.least

    def _say(self, room: int, nodes: Sequence[dict[str, Any]]) -> None:
        if not room:
            types = ", ".join(each.name for each in self._autoscaler.types) if self._autoscaler else ""
            more = f"; the autoscaler was asked for more ({types})" if types else ""
            self._notice(f"waiting for a node with {self._wanted()}: {self._present(nodes)}{more}")
        elif self._room is not None and room != self._room:
            change = "more nodes have joined" if room > self._room else "a node was lost"
            self._tell(f"{change}: room for {plural(room, 'pack')} side by side, {self._room} before")

    def _notice(self, line: str) -> None:
        if time.monotonic() - self._told >= SECONDS_BETWEEN_NOTICES:
            self._tell(line)
            self._told = time.monotonic()

    def _wanted(self) -> str:
        return f"{self.cpus:g} CPU and {self.gpus:g} GPU"

    def _present(self, nodes: Sequence[dict[str, Any]]) -> str:
        cpus, gpus = (sum(node["Resources"].get(name, 0.0) for node in nodes) for name in ("CPU", "GPU"))
        return f"the cluster has {cpus:g} CPU and {gpus:g} GPU on {plural(len(nodes), 'node')}"

    def _nothing_fits(self, nodes: Sequence[dict[str, Any]]) -> str:
        more = ", and its autoscaler has no node type that could" if self._autoscaler else ""
        return (
            f"no node can run a trial that wants {self._wanted()}: {self._present(nodes)}{more}; lower --cpus-per-trial or --gpus-per-trial"
        )
