"""A Ray session for one sweep: started on this machine, or a cluster that is joined."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import time
from collections.abc import Iterator
from typing import Any

import ray
from ray._private import node, ray_constants
from ray.job_config import JobConfig

from sweeper.caretaker import at_a_sudden_end, end_processes
from sweeper.errors import ClusterError
from sweeper.interruption import Interrupted
from sweeper.own_code import import_folders
from sweeper.provenance import available_cores
from sweeper.tune.cluster import Cluster, joined_cluster
from sweeper.tune.watch import ray_processes_watched

_MARK = "SWEEPER_RAY_SESSION"
"""Environment variable by which the processes of our own Ray are known: they inherit it."""

_STEP_MS = 100

_AGENTS = (b"ray::DashboardAgent", b"ray::RuntimeEnvAgent", b"dashboard/agent.py", b"runtime_env/agent/main.py")
"""What their command lines hold once they have named themselves, and before."""


@contextlib.contextmanager
def ray_session(address: str | None) -> Iterator[Cluster]:
    """A connection to Ray for the length of the block: to the cluster at ``address`` or in ``RAY_ADDRESS``, else to a Ray of its own.

    A Ray of its own asks every client for a token (Ray's default for a local start). Ours lives in the environment of this process and its
    children, where Ray would write one into the user's home, readable by all.

    Raises:
        ClusterError: if there is no cluster at the address, or Ray cannot start.
    """
    address = address or os.environ.get("RAY_ADDRESS")
    with _joined(address) if address else _our_own() as cluster:
        yield cluster


@contextlib.contextmanager
def _joined(address: str) -> Iterator[Cluster]:
    way_out = "; check the address with `ray status`, and RAY_AUTH_TOKEN if the cluster asks for a token"
    try:
        _connect(f"join the Ray cluster at {address}", way_out, address=address)
        yield joined_cluster()
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _our_own() -> Iterator[Cluster]:
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    os.environ[_MARK] = secrets.token_hex(16)
    folders = _session_folders()
    at_a_sudden_end(end=_mark(), end_writers=folders)
    try:
        with _on_loopback(), _waiting_in_steps(), ray_processes_watched():
            _connect("start Ray on this machine", address="local", num_cpus=available_cores(), include_dashboard=False)
            folders = _session_folder()
            at_a_sudden_end(end_writers=folders)
            yield Cluster(joined=False)
    except BaseException as error:
        if not isinstance(error, Interrupted):  # a raylet that lives says much when it loses its agents
            _end_agents(folders)  # before the shutdown, which waits long for a raylet that is dead
        raise
    finally:
        ray.shutdown()
        _end_agents(folders)  # where Ray was killed while it was being shut down


@contextlib.contextmanager
def _on_loopback() -> Iterator[None]:
    """A Ray that is started in the block listens on 127.0.0.1 alone: what Ray does on macOS and Windows, where it joins no clusters."""
    before, os.environ[ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR] = ray_constants.ENABLE_RAY_CLUSTER, "0"  # for Ray's processes
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before
        del os.environ[ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR]


@contextlib.contextmanager
def _waiting_in_steps() -> Iterator[None]:
    """In the block signals are heard, and threads run, while Ray waits for the port of a server that it has started.

    It waits up to 30 s in compiled code that holds the interpreter's lock: as long as that takes where the server was killed.
    """
    ray_node: Any = node
    wait = ray_node.wait_for_persisted_port

    def in_steps(*port: str, timeout_ms: int) -> Any:
        end = time.monotonic() + timeout_ms / 1000
        while True:
            try:
                return wait(*port, timeout_ms=_STEP_MS)
            except RuntimeError:  # timed out
                if time.monotonic() > end:
                    raise
                time.sleep(0.001)

    ray_node.wait_for_persisted_port = in_steps
    try:
        yield
    finally:
        ray_node.wait_for_persisted_port = wait


def _connect(what: str, way_out: str = "", **options: Any) -> None:
    """Connect to Ray, to do ``what``; ``way_out`` is the end of the error's message."""
    # A worker puts each of these folders before the others. Ray itself tells it of the script's folder and the working one only.
    job = JobConfig(_py_driver_sys_path=import_folders()[::-1])
    try:
        ray.init(log_to_driver=False, logging_level=logging.ERROR, job_config=job, **options)
    except SystemExit as error:
        raise Interrupted from error  # while Ray starts, a handler of its own answers SIGTERM
    except Exception as error:
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise ClusterError(f"cannot {what}: {reason}{way_out}") from error


def _session_folders() -> str:
    """Pattern of the folder where our own Ray will keep its logs: known before it starts, for it may be killed in the middle of that.

    Ray calls it session_<date>_<time>_<process id>, which may be the folder of a Ray in a container too. The name is not public API.
    """
    return f"*/session_*_{os.getpid()}"


def _session_folder() -> str:
    """That folder, once Ray has started. Not public API."""
    ours: Any = ray._private.worker._global_node
    return str(ours.get_session_dir_path())


def _end_agents(folders: str) -> None:
    """End the agents of our own Ray, which outlive a raylet that was killed by minutes."""
    end_processes(_mark(), folders, _AGENTS)


def _mark() -> str:
    return f"{_MARK}={os.environ.get(_MARK)}"
