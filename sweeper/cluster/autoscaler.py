"""What an autoscaler may add to the cluster that this driver has joined.

Ray does not publish the node types of a cluster. ``ray up`` leaves its final configuration on the head, where a job's driver runs; KubeRay
reveals only that it is there.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

BOOTSTRAP_FILE = Path("~/ray_bootstrap_config.yaml")
"""Where every cluster that ``ray up`` made has its configuration, on the head."""

_KUBERAY = "RAY_USAGE_STATS_KUBERAY_IN_USE"


@dataclass(frozen=True, slots=True)
class NodeType:
    """Nodes that may join. ``resources``: ``None`` if only a running node shows them; ``most``: ``None`` if unknown."""

    name: str
    resources: Mapping[str, float] | None
    most: int | None
    least: int = 0


@dataclass(frozen=True, slots=True)
class Autoscaler:
    """The node types of a cluster, and how many workers it may have in all."""

    types: tuple[NodeType, ...]
    most: int | None = None

    @property
    def least(self) -> int:
        """Workers that come without being asked for."""
        return sum(each.least for each in self.types)

    @property
    def has_gpus(self) -> bool:
        """Whether a node type is known to have GPUs."""
        return any(each.resources is not None and each.resources.get("GPU", 0) > 0 for each in self.types)

    def packs(self, cpus: float, gpus: float) -> int:
        """Packs that fit on the known node types when as many nodes run as are allowed, the roomiest first."""
        rooms = [(packs_on(each.resources, cpus, gpus), each.most) for each in self.types if each.resources is not None]
        left, packs = self.most, 0
        for room, most in sorted(rooms, reverse=True, key=lambda entry: entry[0]):
            nodes = min(number for number in (left, most, 10**6) if number is not None)
            left = None if left is None else left - nodes
            packs += nodes * room
        return packs

    def may_bring_unknown(self, n_workers: int) -> bool:
        """Whether more nodes may join ``n_workers`` whose resources are unknown until they do."""
        return any(each.resources is None and (each.most is None or n_workers < each.most) for each in self.types)


def packs_on(resources: Mapping[str, float], cpus: float, gpus: float) -> int:
    """Packs that fit on one node."""
    # Ray counts in ten-thousandths: three packs of a third of a GPU do fit
    limits = [(resources.get(name, 0.0) + 1e-4) / wanted for name, wanted in (("CPU", cpus), ("GPU", gpus)) if wanted > 0]
    return int(min(limits)) if limits else 0


def read_autoscaler(bootstrap_file: Path = BOOTSTRAP_FILE) -> Autoscaler | None:
    """The autoscaler of the cluster whose head this is; ``None`` if nothing tells of one."""
    try:
        content = yaml.safe_load(bootstrap_file.expanduser().read_text())
        return _autoscaler(content)
    except (OSError, ValueError, yaml.YAMLError, AttributeError, KeyError, TypeError):
        # no such file, or one that another Ray wrote in another way: then nodes are used as they come
        return Autoscaler((NodeType("worker group", None, None),)) if _KUBERAY in os.environ else None


def _autoscaler(content: Mapping[str, Any]) -> Autoscaler:
    types = []
    for name, node_type in content["available_node_types"].items():
        most = int(node_type.get("max_workers", content.get("max_workers", 0)))
        resources = {key: float(value) for key, value in (node_type.get("resources") or {}).items()}
        if most > 0:
            types.append(NodeType(name, resources or None, most, int(node_type.get("min_workers", 0))))
    return Autoscaler(tuple(types), int(content["max_workers"]))
