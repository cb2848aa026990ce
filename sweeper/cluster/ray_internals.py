"""What this package uses of Ray that is no public API: each part behind one function, which says why no public way serves.

Seen in Ray 2.58.0, 2.58.1, 2.59.0 and 2.60.0. To admit another version, run ``tests/cluster/test_ray_internals.py`` with it, which has a
test for each part, then the tests that start Ray; then raise :data:`VERSIONS` here and in ``pyproject.toml``. Parts of Tune are in
:mod:`sweeper.tune.tune_internals`; what an autoscaler leaves on the head is read in :mod:`sweeper.cluster.autoscaler`.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pkgutil import resolve_name
from typing import Any

import ray
from ray.job_config import JobConfig

from sweeper.cluster import ray_agent, ray_worker
from sweeper.errors import ClusterError

VERSIONS = ">=2.58,<2.61"
"""The versions of Ray in which every part was tested: what ``pyproject.toml`` says, too."""

SETTINGS: Mapping[str, str] = {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # a busy machine takes longer than Ray's own half minute to start it; a process of it that dies meanwhile is noticed at once
    "RAY_raylet_start_wait_time_s": "120",
    # the driver waits, deaf to signals and without a limit, for workers that are started ahead: for ever if one of them dies meanwhile
    "RAY_prestart_worker_first_driver": "0",
}
"""What a Ray that we connect to, and its processes, read from the environment. Ray documents the first only, in a warning."""

CORE_PROCESSES = frozenset({"gcs_server", "raylet"})
"""Names of the processes without which no Ray works. A driver that lost them is not told, and waits for a minute."""

WORKER = ray_worker.__file__
"""The program by which a Ray of our own starts its workers."""

HEAD = "node:__internal_head__"
"""The resource that the head of a cluster alone has: ``ray.nodes()`` does not say which node it is."""

_STEP_MS = 100

_ACTOR = re.compile(r"actor_id: ([0-9a-f]{32})$|The actor ([0-9a-f]{32}) is unavailable", re.MULTILINE)


def read_settings() -> None:
    """Have Ray's compiled part read its settings and the token from the environment as it is now.

    It reads them once by itself, when it is loaded or first connects, and ``ray.init`` takes neither from its caller.
    """
    _part("ray._raylet.Config").initialize("")
    _part("ray._raylet.AuthenticationTokenLoader").instance().reset_cache()


def job_config(folders: Sequence[str]) -> JobConfig:
    """A job whose workers look for modules in ``folders``, first to last, before all others.

    Ray itself tells them of the script's folder and the working one only. ``code_search_path``, which is public, makes workers load every
    function by its module's name; an environment variable by ``runtime_env`` has an environment made for each job.
    """
    return JobConfig(_py_driver_sys_path=list(reversed(folders)))  # a worker puts each before the others


def is_connected_by_client() -> bool:
    """Whether the process is connected by Ray Client (``ray://``), which the public functions hide."""
    return bool(_part("ray.util.client.ray.is_connected")())


def canonical_address(address: str) -> str:
    """The address of a cluster as ``gcs_address`` of the runtime context gives it: what ``ray.init`` would make of it, ``auto`` as well."""
    return str(_part("ray._private.services.canonicalize_bootstrap_address")(address))


def free_resources() -> Collection[Mapping[str, float]]:
    """What is free on each node. ``ray.available_resources()`` gives the sum over all nodes."""
    free: Mapping[str, Mapping[str, float]] = _part("ray._private.state.available_resources_per_node")()
    return free.values()


def node_of_actor(error: str) -> str | None:
    """The id of the node of the actor that an error of Ray's names; ``None`` where it names none, or the actor never reached a node.

    From the text and Ray's table of actors, which keeps the dead. The error object is gone where Tune calls us, and the public
    ``ray.util.state`` asks a dashboard, which a Ray of our own has not. A trial tells its node with its first epoch, not before.
    """
    named = _ACTOR.search(error)
    actor = _part("ray._private.state.actors")(named[1] or named[2]) if named else {}
    return actor.get("Address", {}).get("NodeID") or None


def session_folders() -> str:
    """Pattern of the folder where the next Ray of this process will keep its logs, which may be killed before it could be asked.

    Ray calls it session_<date>_<time>_<process id>; that may be the folder of a Ray in a container, too.
    """
    return f"*/session_*_{os.getpid()}"


def session_folder() -> str:
    """The folder where the running Ray of this process keeps its logs: the runtime context does not tell."""
    return str(_part("ray._private.worker._global_node").get_session_dir_path())


@contextlib.contextmanager
def start_hooks_kept() -> Iterator[None]:
    """Leave what every start of Ray in this process does as it was: ``tune.with_parameters`` would have it store its parameters again."""
    hooks: list[Any] = _part("ray._private.worker._post_init_hooks")
    before = list(hooks)
    try:
        yield
    finally:
        hooks[:] = before


def own_messages_dropped() -> AbstractContextManager[None]:
    """Drop what Ray says of its own processes: it prints that to standard output even with ``log_to_driver`` off."""
    return _replaced("ray._private.worker.print_to_stdstream", lambda *_, **__: None)


def on_loopback() -> AbstractContextManager[None]:
    """Have a Ray that is started in the block listen on 127.0.0.1 alone, as Ray does where it joins no clusters (macOS, Windows).

    ``ray.init`` has no public argument for that. The variable stays set after the block, for Ray's processes.
    """
    os.environ[_part("ray._private.ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR")] = "0"
    return _replaced("ray._private.ray_constants.ENABLE_RAY_CLUSTER", False)


@contextlib.contextmanager
def helpers_left_out() -> Iterator[None]:
    """A Ray that is started in the block has no autoscaler, log monitor or web server: three Python processes that a sweep never uses.

    Nor agents: the raylet insists on two, and a program of nothing stands in for them. One would make environments: Tune asks for its
    actors to have variables of the driver's, ``uv run`` and hooks for a job to have the driver's Python. The workers of a Ray that the
    driver has started have both anyway. ``ray.init`` has no public argument for any of this, and waits for the web server even with
    ``include_dashboard=False``.
    """
    build = "ray._private.services._build_python_executable_command_memory_profileable"
    python = _part(build)
    agents = [_part(f"ray._private.ray_constants.PROCESS_TYPE_{kind}_AGENT") for kind in ("DASHBOARD", "RUNTIME_ENV")]

    def command(component: str, *others: Any, **options: Any) -> Any:
        return [sys.executable, "-I", "-S", ray_agent.__file__] if component in agents else python(component, *others, **options)

    with contextlib.ExitStack() as stack:
        for start in ("start_monitor", "start_log_monitor", "start_api_server"):
            stack.enter_context(_replaced(f"ray._private.node.Node.{start}", lambda *_, **__: None))
        stack.enter_context(_replaced(build, command))
        # imports a web server to learn what the agent could do
        stack.enter_context(_replaced("ray._private.utils.get_dashboard_dependency_error", lambda: None))
        stack.enter_context(_replaced("ray._private.worker._maybe_modify_runtime_env", lambda environment, _: environment))
        stack.enter_context(_replaced("ray.tune.execution.class_cache.DEFAULT_ENV_VARS", {}))
        stack.enter_context(_replaced("ray.tune.execution.class_cache.ENV_VARS_TO_PROPAGATE", set()))
        yield


def workers_started_at_once() -> AbstractContextManager[None]:
    """A Ray that is started in the block starts its workers by :data:`WORKER`, for which ``ray.init`` has no public argument."""
    return _replaced("ray._private.ray_constants.SETUP_WORKER_FILENAME", WORKER)  # Ray joins it to a path, which an absolute one replaces


def python_handler_kept() -> AbstractContextManager[None]:
    """In the block Ray sets no handler of SIGTERM in Python: its own would end the program with an exit code of its own."""
    return _replaced("ray._private.utils.set_sigterm_handler", lambda _: None)


def port_awaited_in_steps() -> AbstractContextManager[None]:
    """In the block signals are heard, and threads run, while Ray waits for the port of a server that it has started.

    It waits up to 30 s in compiled code that holds the interpreter's lock: as long as that takes where the server was killed.
    """
    name = "ray._private.node.wait_for_persisted_port"
    wait = _part(name)

    def in_steps(*port: str, timeout_ms: int) -> Any:
        end = time.monotonic() + timeout_ms / 1000
        while True:
            try:
                return wait(*port, timeout_ms=_STEP_MS)
            except RuntimeError:  # timed out
                if time.monotonic() > end:
                    raise
                time.sleep(0.001)

    return _replaced(name, in_steps)


def node_awaited_in_steps() -> AbstractContextManager[None]:
    """In the block ``ray.init`` goes on as soon as the node that it has started is registered, and hears signals until then.

    It looks once a second, in compiled code.
    """
    name = "ray._private.services.get_node"
    get = _part(name)

    def in_steps(gcs_address: str, node_id: str) -> Any:
        state = _part("ray._private.state.GlobalState")()
        state._initialize_global_state(_part("ray._private.services._get_gcs_client_options")(gcs_address))
        end = time.monotonic() + float(SETTINGS["RAY_raylet_start_wait_time_s"])
        while time.monotonic() < end and not any(node["NodeID"] == node_id for node in state.node_table()):
            time.sleep(0.005)
        return get(gcs_address, node_id)

    return _replaced(name, in_steps)


@contextlib.contextmanager
def _replaced(name: str, part: Any) -> Iterator[None]:
    """Put ``part`` in the place of what Ray has under this name, for the length of the block."""
    before = _part(name)
    module, _, attribute = name.rpartition(".")
    setattr(resolve_name(module), attribute, part)
    try:
        yield
    finally:
        setattr(resolve_name(module), attribute, before)


def _part(name: str) -> Any:
    """A part of Ray by its full name.

    Raises:
        ClusterError: the installed Ray does not have it.
    """
    try:
        return resolve_name(name)
    except (ImportError, AttributeError) as error:
        raise ClusterError(
            f"Ray {ray.__version__} has no {name}, which sweeper.cluster.ray_internals needs: install a version that was tested: "
            f"'ray[tune]{VERSIONS}'"
        ) from error
