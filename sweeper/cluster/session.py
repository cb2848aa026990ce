"""A Ray session for one sweep: one that the process already has, a cluster to join, or one started on this machine."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import time
import uuid
from collections.abc import Iterator
from typing import Any

import ray
from ray import _raylet, tune
from ray._private import node, ray_constants, services
from ray.job_config import JobConfig
from ray.util.placement_group import PlacementGroup, get_placement_group, placement_group, placement_group_table, remove_placement_group

from sweeper.cluster.cluster import Cluster, joined_cluster
from sweeper.cluster.watch import core_processes_alive, ray_processes_watched
from sweeper.custom_code import import_folders
from sweeper.errors import ClusterError
from sweeper.process.interruption import Aborted, handlers_kept
from sweeper.process.reaper import end_processes, on_abrupt_exit
from sweeper.process.state import process_state_restored
from sweeper.store.provenance import available_cores

_MARK = "SWEEPER_RAY_SESSION"
"""Environment variable by which the processes of our own Ray are known: they inherit it."""

_STEP_MS = 100

_AGENTS = (b"ray::DashboardAgent", b"ray::RuntimeEnvAgent", b"dashboard/agent.py", b"runtime_env/agent/main.py")
"""What their command lines hold once they have named themselves, and before."""


_ENVIRONMENT = {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # a busy machine takes longer than Ray's own half minute to start it; a process of it that dies meanwhile is noticed at once
    "RAY_raylet_start_wait_time_s": "120",
    # the driver waits, deaf to signals and without a limit, for workers that are started ahead: for ever if one of them dies meanwhile
    "RAY_prestart_worker_first_driver": "0",
}
"""What a Ray that we connect to, and its processes, read from the environment; what the user has set there stands."""


@contextlib.contextmanager
def ray_session(address: str | None) -> Iterator[Cluster]:
    """A connection to Ray for the length of the block, which leaves the process as it was.

    Where the process is connected to Ray already, that is the one, and it is not ended. Else it is the cluster at ``address`` or in
    ``RAY_ADDRESS``, else a Ray of our own. That asks every client for a token (Ray's default for a local start), which lives in the
    environment of this process and its children, where Ray would write one into the user's home, readable by all.

    Raises:
        ClusterError: if there is no cluster at the address, or the process is connected to another one, or Ray cannot start.
    """
    with contextlib.ExitStack() as stack:
        if not ray.is_initialized():
            stack.callback(_read_settings)
        logging.getLogger("ray.tune")  # is there from here on, so that its level is put back too
        stack.enter_context(process_state_restored())
        stack.enter_context(_hooks_left_as_they_were())
        if ray.is_initialized():
            cluster = _the_one_that_is_there(address)
            stack.enter_context(_groups_given_back())
            yield cluster
            return
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        _read_settings()
        address = address or os.environ.get("RAY_ADDRESS")
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


@contextlib.contextmanager
def _hooks_left_as_they_were() -> Iterator[None]:
    """``tune.with_parameters`` has every later start of Ray in the process store its parameters again. Not public API."""
    hooks: list[Any] = ray._private.worker._post_init_hooks
    before = list(hooks)
    try:
        yield
    finally:
        hooks[:] = before


def is_connected() -> bool:
    """Whether the process is connected to a Ray, which a session would use."""
    return bool(ray.is_initialized())


def _the_one_that_is_there(address: str | None) -> Cluster:
    if ray.util.client.ray.is_connected():
        raise ClusterError(
            "this process is connected to its cluster by Ray Client (ray://), which Ray Tune's hooks do not reach through: "
            "run it on a node of the cluster, with address='auto'"
        )
    here = ray.get_runtime_context().gcs_address
    if address not in (None, "auto", here) and (address == "local" or services.canonicalize_bootstrap_address(address) != here):
        wanted = "start a Ray of its own" if address == "local" else f"join the Ray cluster at {address}"
        raise ClusterError(
            f"cannot {wanted}: this process is connected to the Ray at {here} already; "
            "leave the address out to use that one, or call ray.shutdown() first"
        )
    return joined_cluster()


@contextlib.contextmanager
def _joined(address: str) -> Iterator[Cluster]:
    way_out = "; check the address with `ray status`, and RAY_AUTH_TOKEN if the cluster asks for a token"
    try:
        _connect(f"join the Ray cluster at {address}", way_out, address=address)
        yield joined_cluster()
    finally:
        _shut_down()


@contextlib.contextmanager
def _our_own() -> Iterator[Cluster]:
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    _read_settings()
    os.environ[_MARK] = secrets.token_hex(16)
    folders = _session_folders()
    on_abrupt_exit(end=_mark(), end_writers=folders)
    with _says_nothing():
        try:
            with _on_loopback(), _waiting_in_steps(), ray_processes_watched():
                _connect("start Ray on this machine", address="local", num_cpus=available_cores(), include_dashboard=False)
                folders = _session_folder()
                on_abrupt_exit(end_writers=folders)
                yield Cluster(joined=False)
        except BaseException:
            if not core_processes_alive():  # the shutdown waits long for a dead raylet; a living one must end its own agents
                _end_agents(folders)
            raise
        finally:
            _shut_down()
            _end_agents(folders)  # where Ray was killed while it was being shut down


def _shut_down() -> None:
    with handlers_kept():
        ray.shutdown()


def _read_settings() -> None:
    """Have Ray's compiled part read its settings and the token from the environment as it is now: it does so once by itself."""
    compiled: Any = _raylet
    compiled.Config.initialize("")
    compiled.AuthenticationTokenLoader.instance().reset_cache()


@contextlib.contextmanager
def _says_nothing() -> Iterator[None]:
    """What Ray says of its own processes comes to our standard output, even with log_to_driver off; what matters of it we say ourselves."""
    worker: Any = ray._private.worker
    original, worker.print_to_stdstream = worker.print_to_stdstream, lambda *_, **__: None
    try:
        yield
    finally:
        worker.print_to_stdstream = original


@contextlib.contextmanager
def _on_loopback() -> Iterator[None]:
    """A Ray that is started in the block listens on 127.0.0.1 alone: what Ray does on macOS and Windows, where it joins no clusters."""
    os.environ[ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR] = "0"  # for Ray's processes
    before, ray_constants.ENABLE_RAY_CLUSTER = ray_constants.ENABLE_RAY_CLUSTER, False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


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
        with handlers_kept(), _python_handler_kept():
            ray.init(log_to_driver=False, logging_level=logging.ERROR, job_config=job, **options)
    except Exception as error:
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise ClusterError(f"cannot {what}: {reason}{way_out}") from error


@contextlib.contextmanager
def _python_handler_kept() -> Iterator[None]:
    """In the block Ray sets no handler of SIGTERM in Python: its own would end the program with an exit code of its own."""
    utils: Any = ray._private.utils
    set_handler, utils.set_sigterm_handler = utils.set_sigterm_handler, lambda _: None
    try:
        yield
    finally:
        utils.set_sigterm_handler = set_handler


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
    """Kill the agents of our own Ray, which outlive a killed raylet by minutes. A running raylet dies too: its command line names them."""
    end_processes(_mark(), folders, _AGENTS)


def _mark() -> str:
    return f"{_MARK}={os.environ.get(_MARK)}"
