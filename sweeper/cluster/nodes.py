"""The nodes of a cluster: which are up, and whether they can work for a sweep: they have the same sweeper, and they see its results folder.

A worker writes checkpoints and predictions itself. In a folder on its own disk they would be lost with the node, unnoticed.
"""

from __future__ import annotations

import socket
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import ray
from ray.exceptions import GetTimeoutError, NodeDiedError, RayError, TaskUnschedulableError, WorkerCrashedError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sweeper import __version__
from sweeper.errors import ClusterError
from sweeper.store import Folder

SECONDS_TO_ANSWER = 120
"""A node's first worker process imports Ray and PyArrow; on a busy machine that takes a while."""

SECONDS_FOR_A_NODE_TO_BE_MISSED = 3.0

_NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "ceph", "lustre", "gpfs", "beegfs", "glusterfs", "9p", "virtiofs", "wekafs", "afs", "pvfs2", "ocfs2"}
)

_WAY_OUT = (
    "checkpoints and predictions would be lost with the node that wrote them; set --results to object storage (s3://BUCKET/PREFIX) "
    "or to a folder that all nodes mount under the same path"
)


def alive_nodes() -> list[dict[str, Any]]:
    """The nodes that are up, as Ray describes them."""
    return [node for node in ray.nodes() if node["Alive"]]


def require_shared_results(results: str, nodes: Sequence[dict[str, Any]], *, growing: bool) -> None:
    """Return if every node but the driver's can be given work whose results belong below ``results``.

    Each is asked to find a file that the driver has just written there. ``growing``: other nodes may join later; while there is none to
    be asked, the kind of the file system has to answer.

    Raises:
        ClusterError: naming the first node that cannot, and the way out.
        StoreError: if the driver itself cannot write there.
    """
    folder = absolute(Folder(results))
    ours = ray.get_runtime_context().get_node_id()
    others = [node for node in nodes if node["NodeID"] != ours]
    if not others:
        if growing and folder.local and not _on_network(Path(folder.uri)):
            raise ClusterError(f"{results}: this folder is on the head's own disk, and the trials will run on other nodes: {_WAY_OUT}")
        return
    name = f".seen-by-all-{uuid.uuid4().hex}"
    folder.write(name, b"")
    try:
        answers = [(node, _ask(node["NodeID"], folder, name)) for node in others]
        for node, answer in answers:
            _judge(results, node, answer)
    finally:
        folder.delete(name)


def lost_node(node_id: str | None) -> str | None:
    """The address of a node that has died; ``None`` if it lives, or is the only one.

    Ray learns of it up to a minute after the processes on it are gone, so the node itself is asked too; and as a machine that shuts down
    ends its processes one by one, for some seconds.
    """
    end = time.monotonic() + SECONDS_FOR_A_NODE_TO_BE_MISSED
    while node_id is not None and len(nodes := ray.nodes()) > 1:
        found = next((node for node in nodes if node["NodeID"] == node_id), None)
        if found is None:
            return None
        if not found["Alive"] or not _answers(found["NodeManagerAddress"], found["NodeManagerPort"]):
            return str(found["NodeManagerAddress"])
        if time.monotonic() > end:
            return None
        time.sleep(0.2)
    return None


def _answers(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), timeout=2):
            return True
    except OSError:
        return False


def absolute(folder: Folder) -> Folder:
    """The folder under a name that means the same in every working directory."""
    return Folder(str(Path(folder.uri).absolute())) if folder.local else folder


def _ask(node_id: str, folder: Folder, name: str) -> Any:
    task = ray.remote(_answer).options(
        num_cpus=0,
        max_retries=1,
        scheduling_strategy=NodeAffinitySchedulingStrategy(node_id=node_id, soft=False),
        name="sweeper-asks-a-node",
    )
    return task.remote(folder, name)


def _answer(folder: Folder, name: str) -> tuple[str, bool]:
    """Runs on the node: its version of sweeper, and whether it sees the file."""
    return __version__, folder.exists(name)


def _judge(results: str, node: dict[str, Any], answer: Any) -> None:
    host = f"node {node['NodeManagerAddress']}"
    try:
        version, sees = ray.get(answer, timeout=SECONDS_TO_ANSWER)
    except (NodeDiedError, TaskUnschedulableError, WorkerCrashedError):
        return  # lost while it was asked: nothing will run there
    except GetTimeoutError as error:
        raise ClusterError(
            f"{host} did not answer within {SECONDS_TO_ANSWER} s: look at `ray status`, and at the worker logs of that node"
        ) from error
    except RayError as error:
        reason = next((line.strip() for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__)
        raise ClusterError(
            f"{host} cannot work for this sweep: {reason}; it needs the same sweeper as the head, and access to {results}"
        ) from error
    if version != __version__:
        raise ClusterError(f"{host} has sweeper {version}, the driver has {__version__}: install the same on all nodes (`ray up` does)")
    if not sees:
        raise ClusterError(f"{results}: {host} does not see what the driver writes there: {_WAY_OUT}")


def _on_network(path: Path) -> bool:
    """Whether a path lies on a file system that other machines can mount too. A disk that this machine exports looks like any other."""
    mounts = {Path(mount.mountpoint): mount.fstype for mount in psutil.disk_partitions(all=True)}
    kind = next((mounts[folder] for folder in [path.resolve(), *path.resolve().parents] if folder in mounts), "")
    return kind in _NETWORK_FILE_SYSTEMS or kind.startswith("fuse.")
