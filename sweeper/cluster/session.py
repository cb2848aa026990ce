"""A Ray session for one sweep: one that the process already has, a cluster to join, or one started on this machine."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import socket
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import ray
from ray import tune
from ray.util.placement_group import PlacementGroup, get_placement_group, placement_group, placement_group_table, remove_placement_group

from sweeper.cluster import ray_internals
from sweeper.cluster.autoscaler import Autoscaler, read_autoscaler
from sweeper.cluster.capacity import Capacity, Tell
from sweeper.cluster.nodes import alive_nodes, require_shared_results
from sweeper.cluster.watch import ray_processes_watched
from sweeper.custom_code import import_folders
from sweeper.errors import ClusterError
from sweeper.process.interruption import Aborted, handlers_kept
from sweeper.process.reaper import on_abrupt_exit
from sweeper.process.state import preserve_process_state
from sweeper.store.provenance import available_cores
from sweeper.text import first_line

_SECONDS_TO_ANSWER = 10.0
"""How long the head of a cluster may take to accept a connection."""

_MARK = "SWEEPER_RAY_SESSION"
"""Environment variable by which the processes of our own Ray are known: they inherit it."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """The Ray that a sweep runs on.

    ``joined``: whether others may use it too and nodes may come and go; a Ray of our own is this machine, for good.
    """

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


@contextlib.contextmanager
def ray_session(address: str | None) -> Iterator[Cluster]:
    """A connection to Ray for the length of the block, which leaves the process as it was.

    Where the process is connected to Ray already, that is the one, and it is not ended. Else it is the cluster at ``address`` or in
    ``RAY_ADDRESS``, else a Ray of our own. That asks every client for a token, which lives in the
    environment of this process and its children, where Ray would write one into the user's home, readable by all.

    Raises:
        ClusterError: if there is no cluster at the address, or the process is connected to another one, or Ray cannot start.
    """
    with contextlib.ExitStack() as stack:
        if not ray.is_initialized():
            stack.callback(ray_internals.read_settings)
        logging.getLogger("ray.tune")  # is there from here on, so that its level is restored too
        stack.enter_context(preserve_process_state())
        stack.enter_context(ray_internals.start_hooks_kept())
        if ray.is_initialized():
            cluster = _the_one_that_is_there(address)
            stack.enter_context(_groups_given_back())
            yield cluster
            return
        for name, value in ray_internals.SETTINGS.items():
            os.environ.setdefault(name, value)
        ray_internals.read_settings()
        address = address_to_join(address)
        with _joined(address) if address else _our_own() as cluster:
            yield cluster


class PackResources(tune.PlacementGroupFactory):
    """What one pack occupies. Its placement groups have names by which this process finds its own again."""

    def to_placement_group(self) -> PlacementGroup:
        group: PlacementGroup = placement_group(self.bundles, self.strategy, name=f"{_group_prefix()}{uuid.uuid4().hex}")
        return group


def _group_prefix() -> str:
    return f"sweeper-{ray.get_runtime_context().get_job_id()}-"


@contextlib.contextmanager
def _groups_given_back() -> Iterator[None]:
    """Remove the placement groups that are left if the block ends with an exception, and end what runs in them.

    Tune removes them itself, but not always where an interruption passes through it; Ray does with the last driver that may use them. In a
    Ray that lives on, their CPUs and GPUs would stay taken.
    """
    try:
        yield
    except Aborted:  # its cluster may be gone, and would not answer
        raise
    except BaseException:
        for group in placement_group_table().values():
            if group["name"].startswith(_group_prefix()) and group["state"] != "REMOVED":
                remove_placement_group(get_placement_group(group["name"]))
        raise


def address_to_join(address: str | None) -> str | None:
    """The cluster that a process joins which is connected to none yet; ``None`` where it starts a Ray of its own."""
    return address or os.environ.get("RAY_ADDRESS")


def is_connected() -> bool:
    """Whether the process is connected to a Ray, which a session would use."""
    return bool(ray.is_initialized())


def _the_one_that_is_there(address: str | None) -> Cluster:
    if ray_internals.is_connected_by_client():
        raise ClusterError(
            "this process is connected to its cluster by Ray Client (ray://), which Ray Tune's hooks do not reach through: "
            "run it on a node of the cluster, with address='auto'"
        )
    here = ray.get_runtime_context().gcs_address
    if address not in (None, "auto", here) and (address == "local" or ray_internals.canonical_address(address) != here):
        wanted = "start a Ray of its own" if address == "local" else f"join the Ray cluster at {address}"
        raise ClusterError(
            f"cannot {wanted}: this process is connected to the Ray at {here} already; "
            "leave the address out to use that one, or call ray.shutdown() first"
        )
    return _joined_cluster()


@contextlib.contextmanager
def _joined(address: str) -> Iterator[Cluster]:
    what = f"join the Ray cluster at {address}"
    try:
        # Ray itself would go on trying for more than five minutes, and print warnings of its compiled part meanwhile
        host, _, port = ray_internals.canonical_address(address).rpartition(":")
        socket.create_connection((host, int(port)), _SECONDS_TO_ANSWER).close()
    except (OSError, ValueError) as error:  # no cluster to be found, an unknown host, a refusal, silence; no address at all
        raise ClusterError(f"cannot {what}: {first_line(error).rstrip('.')}; check the address with `ray status`") from error
    try:
        _connect(what, "; check the address with `ray status`, and RAY_AUTH_TOKEN if the cluster asks for a token", address=address)
        yield _joined_cluster()
    finally:
        _shut_down()


@contextlib.contextmanager
def _our_own() -> Iterator[Cluster]:
    os.environ.setdefault("RAY_AUTH_MODE", "token")  # the default of a local start only from Ray 2.59 on
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    ray_internals.read_settings()
    os.environ[_MARK] = secrets.token_hex(16)
    on_abrupt_exit(end=f"{_MARK}={os.environ[_MARK]}", end_writers=ray_internals.session_folders())
    with ray_internals.own_messages_dropped():
        try:
            with (
                ray_internals.on_loopback(),
                ray_internals.helpers_left_out(),
                ray_internals.workers_started_at_once(),
                ray_internals.port_awaited_in_steps(),
                ray_internals.node_awaited_in_steps(),
                ray_processes_watched(),
            ):
                _connect("start Ray on this machine", address="local", num_cpus=available_cores())
                on_abrupt_exit(end_writers=ray_internals.session_folder())
                yield Cluster(joined=False)
        finally:
            _shut_down()


def _joined_cluster() -> Cluster:
    """The cluster that this process has just joined. Only a driver on its head can read of its autoscaler."""
    ours = ray.get_runtime_context().get_node_id()
    on_head = any(node["NodeID"] == ours and ray_internals.HEAD in node["Resources"] for node in alive_nodes())
    return Cluster(joined=True, autoscaler=read_autoscaler() if on_head else None)


def _shut_down() -> None:
    with handlers_kept():
        ray.shutdown()


def _connect(what: str, way_out: str = "", **options: Any) -> None:
    """Connect to Ray, to do ``what``; ``way_out`` is the end of the error's message."""
    job = ray_internals.job_config(import_folders())
    try:
        with handlers_kept(), ray_internals.python_handler_kept():
            ray.init(log_to_driver=False, logging_level=logging.ERROR, job_config=job, **options)
    except Exception as error:
        raise ClusterError(f"cannot {what}: {first_line(error)}{way_out}") from error
