"""A Ray session for one sweep: started on this machine, or a cluster that is joined."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import threading
from collections.abc import Iterator
from typing import Any

from sweeper.errors import ClusterError
from sweeper.interruption import abort
from sweeper.provenance import available_cores

# read when ray is imported: our recorder writes the results, and our progress shows them
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("RAY_DEDUP_LOGS", "1")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import ray

from sweeper.tune.cluster import Cluster, joined_cluster

SECONDS_BETWEEN_LOOKS = 0.2
"""How often the processes of a Ray of our own are looked at."""


class ClusterLostError(ClusterError):
    """A Ray cluster that ended under a running sweep."""

    exit_code = 1


@contextlib.contextmanager
def ray_session(address: str | None) -> Iterator[Cluster]:
    """A connection to Ray for the length of the block: to the cluster at ``address`` or in ``RAY_ADDRESS``, else to a Ray of its own.

    A Ray of its own asks every client for a token (Ray's default for a local start). Ours lives in the environment of this process and its
    children, where Ray would write one into the user's home, readable by all.

    Raises:
        ClusterError: if there is no cluster at the address, or Ray cannot start.
    """
    address = address or os.environ.get("RAY_ADDRESS") or None
    try:
        if address is None:
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
            ray.init(
                address="local",
                num_cpus=available_cores(),
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                configure_logging=True,
            )
        else:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        where = f"join the Ray cluster at {address}" if address else "start Ray on this machine"
        way_out = "; check the address with `ray status`, and RAY_AUTH_TOKEN if the cluster asks for a token" if address else ""
        raise ClusterError(f"cannot {where}: {reason}{way_out}") from error
    done = threading.Event()
    if address is None:
        threading.Thread(target=_watch, args=(done,), name="sweeper-ray-watch", daemon=True).start()
    try:
        yield joined_cluster() if address else Cluster(joined=False)
    finally:
        done.set()
        ray.shutdown()


def _watch(done: threading.Event) -> None:
    """Abort the sweep when a process of our own Ray ends. Its driver would wait for it for a minute, and then exit without a word of ours.

    The table of processes is not public API: another reason why Ray is pinned to a minor version.
    """
    node: Any = ray._private.worker._global_node
    core = {name: node.all_processes[name][0].process for name in ("gcs_server", "raylet")}
    while not done.wait(SECONDS_BETWEEN_LOOKS):
        for name, process in core.items():
            if process.poll() is not None and not done.is_set():
                abort(ClusterLostError(f"Ray ended under the sweep: its process {name} died (exit status {process.returncode})"))
                return
