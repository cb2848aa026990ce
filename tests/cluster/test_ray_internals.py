"""What is used of Ray beside its public API is there and does what it is used for. With a new Ray, run this first."""

import contextlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
import time
import tomllib
from pathlib import Path

import pytest
import ray
from ray import tune

from sweeper.cluster import ray_internals
from sweeper.errors import ClusterError
from sweeper.tune.tune_internals import failure_of

ROOT = Path(__file__).parents[2]


@contextlib.contextmanager
def needs(function, part, module="sweeper.cluster.ray_internals"):
    """Fail with one sentence where the block fails: the installed Ray has changed."""
    try:
        yield
    except Exception as error:
        said = f"{type(error).__name__}: {error}".splitlines()[0]
        pytest.fail(f"Ray {ray.__version__} no longer has {part} as {module}.{function} needs it: {said}", pytrace=False)


LIVE = """
import fnmatch, json, logging, os, signal, sys, time
import psutil, ray
from ray import tune
from ray.tune.schedulers import FIFOScheduler
from sweeper.cluster import ray_internals
from sweeper.tune import tune_internals
from sweeper.cluster.session import ray_session
from sweeper.process.reaper import living_processes

found, heard = {}, []
os.environ["AWS_SESSION_TOKEN"] = "of a test"
get_node, looked = ray._private.services.get_node, []
def timed(*which):
    began = time.monotonic()
    node = get_node(*which)
    looked.append(time.monotonic() - began)
    return node
ray._private.services.get_node = timed
sys.path.insert(0, os.environ["FOLDER"])  # after this script's own
before = ray_internals.session_folders()
handler = signal.getsignal(signal.SIGTERM)

@ray.remote(num_cpus=1)
class Actor:
    def path(self):
        return sys.path
    def die(self):
        os._exit(1)

class DiesInItsSecondStep(tune.Trainable):
    def step(self):
        if self.iteration:
            os._exit(1)
        return {"x": 1, "token": os.environ.get("AWS_SESSION_TOKEN")}
    def who(self):
        return os.getpid()

class Noting(FIFOScheduler):
    def on_trial_result(self, controller, trial, result):
        found["token"] = result["token"]
        found["actor"] = ray.get(tune_internals.actor_of(trial).who.remote()) == result["pid"]
        return self.CONTINUE
    def on_trial_error(self, controller, trial):
        found["tune_error"] = tune_internals.error_of(trial)

def say(text):
    gcs = ray._private.worker.global_worker.gcs_client
    ray._private.utils.publish_error_to_driver("of_a_test", text, gcs_client=gcs)
    time.sleep(0.5)

with ray_session(None):
    found["looked"] = looked
    found["runtime_env"] = ray.get_runtime_context().runtime_env
    found["handler"] = signal.getsignal(signal.SIGTERM) is handler
    found["is_client"] = ray_internals.is_connected_by_client()
    found["address"] = ray_internals.canonical_address(ray.get_runtime_context().gcs_address) == ray.get_runtime_context().gcs_address
    started = psutil.Process().children(recursive=True)
    found["core"] = sorted({process.name() for process in started} & ray_internals.CORE_PROCESSES)
    commands = [" ".join(process.cmdline()) for process in started]
    scripts = "/monitor.py", "/log_monitor.py", "/dashboard.py", "/raylet "
    found["helpers"] = [any(script in command for command in commands) for script in scripts]
    found["head"] = [ray_internals.HEAD in node["Resources"] for node in ray.nodes()]
    found["folder"] = fnmatch.fnmatchcase(ray_internals.session_folder(), before)
    found["free"] = [resources["CPU"] == len(os.sched_getaffinity(0)) for resources in ray_internals.free_resources()]
    say("is dropped")
    with ray_internals._replaced("ray._private.worker.print_to_stdstream", lambda data, **_: heard.append(str(data))):
        say("is heard")
    found["heard"] = [text in "".join(heard) for text in ("is dropped", "is heard")]
    actor = Actor.remote()
    found["worker"] = any("--python_worker_command=" in command and "/sweeper/cluster/ray_worker.py" in command for command in commands)
    path = ray.get(actor.path.remote())
    found["path"] = path.index(os.environ["FOLDER"]) < min(i for i, each in enumerate(path) if "site-packages" in each)
    try:
        ray.get(actor.die.remote())
    except ray.exceptions.RayActorError as error:
        found["error"] = str(error)
    found["node"] = ray_internals.node_of_actor(found["error"]) == ray.nodes()[0]["NodeID"]
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    tune_internals.set_environment()
    run_config = tune.RunConfig(storage_path=os.environ["FOLDER"], verbose=0, progress_reporter=tune.CLIReporter())
    tune.Tuner(DiesInItsSecondStep, tune_config=tune.TuneConfig(scheduler=Noting()), run_config=run_config).fit()
    mark = f"SWEEPER_RAY_SESSION={os.environ['SWEEPER_RAY_SESSION']}"
    commands = [command.split(b"\\0") for _, command in living_processes(mark, ray_internals.session_folders())]
    stand_in = ray_internals.ray_agent.__file__.encode()
    found["agents"] = sorted(command[4].decode().split("/_private/")[-1].split("/ray/")[-1] for command in commands if stand_in in command)
    names = b"ray::RuntimeEnvAgent", b"dashboard/agent.py", b"runtime_env/agent/main.py"
    found["others"] = [str(each) for each in commands if stand_in not in each and any(part.endswith(names) for part in each[:4])]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    """What was found in one Ray of our own, by name, and what was printed before that."""
    folder, script = str(tmp_path_factory.mktemp("modules")), tmp_path_factory.mktemp("script")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")} | {"FOLDER": folder}
    environment["RAY_RUNTIME_ENV_HOOK"] = "no_such_module.hook"
    (script / "live.py").write_text(LIVE)
    (script / "run").write_text(f"{shlex.quote(sys.executable)} live.py\nexit $?\n")  # which bash runs, and looks as if it were uv
    bash = shutil.which("bash")
    done = subprocess.run(
        ["uv", "run"], executable=bash, cwd=script, env=environment, capture_output=True, text=True, timeout=200, check=False
    )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1]
        pytest.fail(f"a Ray of our own does not work with Ray {ray.__version__}: {last}\n{done.stderr}", pytrace=False)
    *printed, found = done.stdout.splitlines()
    return json.loads(found) | {"printed": printed}


def test_the_tested_versions_are_those_that_the_package_admits_and_the_installed_ray_is_one():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(each for extra in project["optional-dependencies"].values() for each in extra)]
    assert {re.sub(r"^ray\[\w+\]", "", each) for each in wanted if each.startswith("ray[")} == {ray_internals.VERSIONS}
    low, high = (tuple(map(int, bound.lstrip("<>=").split("."))) for bound in ray_internals.VERSIONS.split(","))
    installed = tuple(map(int, ray.__version__.split(".")[:2]))
    assert low <= installed < high, f"Ray {ray.__version__} is outside {ray_internals.VERSIONS}: see sweeper/cluster/ray_internals.py"


def test_a_part_that_ray_no_longer_has_is_named_with_the_versions_that_were_tested(monkeypatch):
    monkeypatch.delattr(ray._private.worker, "print_to_stdstream")
    sentence = (
        f"Ray {ray.__version__} has no ray._private.worker.print_to_stdstream, which sweeper.cluster.ray_internals needs: "
        "install a version that was tested: 'ray[tune]>=2.58,<2.61'"
    )
    with pytest.raises(ClusterError, match=f"^{re.escape(sentence)}$"), ray_internals.own_messages_dropped():
        pass


READ_AGAIN = """
import os
from ray._raylet import AuthenticationTokenLoader, Config
from sweeper.cluster import ray_internals
before = AuthenticationTokenLoader.instance().has_token(), Config.nums_py_gcs_reconnect_retry()
os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64, "RAY_nums_py_gcs_reconnect_retry": "77"}
ray_internals.read_settings()
print(before[0], before[1] == 77, AuthenticationTokenLoader.instance().has_token(), Config.nums_py_gcs_reconnect_retry())
"""


def test_settings_and_token_are_read_again_from_the_environment(tmp_path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")} | {"HOME": str(tmp_path)}
    with needs("read_settings", "Config.initialize and AuthenticationTokenLoader.reset_cache in ray._raylet"):
        done = subprocess.run([sys.executable, "-c", READ_AGAIN], env=environment, capture_output=True, text=True, check=False)
        assert done.stdout == "False False True 77\n", done.stderr.strip().splitlines()[-1:]


@pytest.mark.parametrize("name", sorted(ray_internals.SETTINGS))
def test_ray_knows_each_setting(name):
    sources = [*Path(ray.__file__).parent.joinpath("_private").rglob("*.py"), Path(ray._raylet.__file__)]
    with needs("SETTINGS", f"a setting {name}"):
        assert any(part in file.read_bytes() for file in sources for part in (name.encode(), name.removeprefix("RAY_").encode() + b"\0"))


def test_a_job_tells_its_workers_where_to_look_for_modules(live):
    with needs("job_config", "JobConfig(_py_driver_sys_path=...)"):
        assert live["path"]


def test_an_address_is_made_canonical(live):
    with needs("canonical_address", "ray._private.services.canonicalize_bootstrap_address"):
        assert live["address"]
        assert ray_internals.canonical_address("localhost:6379").endswith(":6379")


def test_a_process_that_is_no_ray_client_is_known_as_such(live):
    with needs("is_connected_by_client", "ray.util.client.ray.is_connected"):
        assert live["is_client"] is False


def test_what_is_free_is_listed_by_node(live):
    with needs("free_resources", "ray._private.state.available_resources_per_node"):
        assert live["free"] == [True]


def test_the_node_of_an_actor_that_died_is_found_by_the_text_of_its_error(live):
    with needs("node_of_actor", "'actor_id: ...' in the error of an actor that died, and its node in ray._private.state.actors"):
        assert live["node"]


def test_the_error_of_an_actor_that_died_says_so_in_the_words_that_are_looked_for(live):
    with needs("node_of_actor", "'worker exit detail' in the error of an actor that died"):
        assert failure_of(live["error"]).error.startswith("the worker process died: Worker unexpectedly exits")


def test_a_tune_trial_tells_its_actor(live):
    with needs("actor_of", "trial.temporary_state.ray_actor", "sweeper.tune.tune_internals"):
        assert live["actor"]


def test_a_scheduler_finds_the_text_of_an_error(live):
    with needs("error_of", "trial.error_file, written before on_trial_error is called,", "sweeper.tune.tune_internals"):
        assert failure_of(live["tune_error"]).error.startswith("the worker process died")


def test_the_folder_of_a_session_is_known_before_it_starts(live):
    with needs("session_folders", "a folder session_<date>_<time>_<process id> for its logs, and Node.get_session_dir_path"):
        assert live["folder"]


def test_the_head_has_a_resource_of_its_own(live):
    with needs("HEAD", "the resource node:__internal_head__"):
        assert live["head"] == [True]


def test_the_core_processes_have_their_names(live):
    with needs("CORE_PROCESSES", "processes called gcs_server and raylet"):
        assert live["core"] == ["gcs_server", "raylet"]


def test_a_program_of_nothing_stands_in_for_both_agents_of_a_raylet(live):
    with needs("helpers_left_out", "_build_python_executable_command_memory_profileable, by which it starts its agents"):
        assert live["agents"] == ["dashboard/agent.py", "runtime_env/agent/main.py"]
        assert live["others"] == []


@pytest.mark.parametrize(
    ("agent", "ports"),
    [
        ("dashboard/agent.py", ["dashboard_agent_listen_port", "metrics_agent_port", "metrics_export_port"]),
        ("_private/runtime_env/agent/main.py", ["runtime_env_agent_port"]),
    ],
)
def test_a_stand_in_writes_the_ports_of_its_agent_alone_and_ends_with_the_raylet_that_holds_its_input(tmp_path, agent, ports):
    # two that write the same file side by side would now and then take it from under each other
    command = [
        sys.executable,
        "-I",
        "-S",
        ray_internals.ray_agent.__file__,
        f"/ray/{agent}",
        f"--session-dir={tmp_path}",
        "--node-id=7",
        "--head",
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as stand_in:
        end = time.monotonic() + 30
        while len(list(tmp_path.glob("*_7"))) < len(ports):
            assert time.monotonic() < end
            time.sleep(0.001)
        time.sleep(0.1)
        assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {f"{port}_7": "-1" for port in ports}
        assert stand_in.poll() is None
        stand_in.communicate(timeout=30)
        assert stand_in.returncode == 0


def test_a_worker_has_its_drivers_environment_without_an_agent_that_makes_it(live):
    with needs("helpers_left_out", "DEFAULT_ENV_VARS and ENV_VARS_TO_PROPAGATE of ray.tune.execution.class_cache"):
        assert live["token"] == "of a test"  # noqa: S105  a test's own


def test_a_driver_that_uv_has_started_or_that_has_a_hook_for_environments_asks_for_none(live):
    with needs("helpers_left_out", "ray._private.worker._maybe_modify_runtime_env, by which a job gets an environment"):
        assert live["runtime_env"] == {}


def test_a_node_is_looked_for_until_it_is_registered_before_rays_own_look_which_would_take_a_second(live):
    with needs("node_awaited_in_steps", "ray._private.services.get_node, by which it waits for its node"):
        assert len(live["looked"]) == 1
        assert live["looked"][0] < 0.5


def test_workers_are_started_by_our_own_program(live):
    with needs("workers_started_at_once", "ray_constants.SETUP_WORKER_FILENAME, joined to a path"):
        assert live["worker"]


@pytest.mark.parametrize("context", [None, {}, {"env_vars": {"A_TEST": "${HOME}"}}], ids=["none", "an empty one", "one with variables"])
def test_a_worker_gets_its_arguments_and_its_environment_from_rays_own_program_where_it_has_one(context, tmp_path):
    worker = tmp_path / "default_worker.py"
    worker.write_text("import os, sys; print(sys.argv[1:], os.environ.get('A_TEST'), os.path.basename(sys.executable)[:6])")
    command = [sys.executable, ray_internals.ray_worker.__file__, worker, "--node=1", "-x", "a b", "--language=PYTHON"]
    if context is not None:
        command.append(f"--serialized-runtime-env-context={json.dumps(context)}")
    if context:
        (tmp_path / "setup_worker.py").symlink_to(Path(ray.__file__).parent / "_private/workers/setup_worker.py")
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    variable = os.environ["HOME"] if context else None
    assert done.stdout.strip() == f"['--node=1', '-x', 'a b'] {variable} python", done.stderr


def test_what_a_start_of_ray_does_is_left_as_it_was():
    with needs("start_hooks_kept", "the list ray._private.worker._post_init_hooks"):
        hooks = ray._private.worker._post_init_hooks
        before = list(hooks)
        with ray_internals.start_hooks_kept():
            tune.with_parameters(lambda config, data: None, data=1)
            assert len(hooks) == len(before) + 1
        assert hooks == before


def test_what_ray_says_of_its_processes_is_dropped(live):
    with needs("own_messages_dropped", "ray._private.worker.print_to_stdstream, by which all of it is printed"):
        assert live["heard"] == [False, True]
        assert live["printed"] == []


def test_ray_starts_without_the_processes_that_a_sweep_never_uses(live):
    with needs("helpers_left_out", "start_monitor, start_log_monitor and start_api_server of ray._private.node.Node"):
        assert live["helpers"] == [False, False, False, True]


def test_ray_sets_no_handler_of_sigterm_in_python(live):
    with needs("python_handler_kept", "ray._private.utils.set_sigterm_handler, by which it is set"):
        assert live["handler"]


def test_ray_listens_on_loopback(monkeypatch):
    from ray._private.services import get_node_ip_address

    with needs("on_loopback", "ray._private.ray_constants.ENABLE_RAY_CLUSTER"):
        monkeypatch.setenv(ray._private.ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR, "")
        monkeypatch.setattr(ray._private.worker, "_global_node", None)
        with ray_internals.on_loopback():
            assert get_node_ip_address() == "127.0.0.1"
            assert os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "0"


def test_threads_run_while_ray_waits_for_a_port(tmp_path):
    ticks, done = [], threading.Event()

    def tick():
        while not done.wait(0.01):
            ticks.append(time.monotonic())

    with needs("port_awaited_in_steps", "ray._private.node.wait_for_persisted_port(folder, node, name, timeout_ms=...)"):
        thread = threading.Thread(target=tick)
        with ray_internals.port_awaited_in_steps():
            thread.start()
            started = time.monotonic()
            with pytest.raises(RuntimeError):
                ray._private.node.wait_for_persisted_port(str(tmp_path), "node", "gcs_server", timeout_ms=1000)
            waited = time.monotonic() - started
            done.set()
            thread.join()
        assert 1 <= waited < 3
        assert len(ticks) >= 4
