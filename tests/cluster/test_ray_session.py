"""A Ray of our own: who may talk to it, and what it leaves behind."""

import json
import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
from forked_python import fast_python

from sweeper.process.reaper import living_processes

pytestmark = pytest.mark.one_by_one

ROOT = Path(__file__).parents[2]

SESSION = """
import fnmatch, json, os, subprocess, sys
from pathlib import Path
from sweeper.process.reaper import living_processes
from sweeper.cluster.ray_internals import session_folders
from sweeper.cluster.session import ray_session
import ray

CLIENT = '''
import ray
try:
    ray.init(address="ADDRESS", log_to_driver=False)
    print("let in")
except Exception as error:
    print(type(error).__name__)
'''
def listening():
    # addresses on which this process and its Ray listen, as the kernel writes them: 0100007F is 127.0.0.1
    mine = f"SWEEPER_RAY_SESSION={os.environ['SWEEPER_RAY_SESSION']}".encode()
    sockets = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if process.name == str(os.getpid()) or mine in (process / "environ").read_bytes():
                sockets |= {os.readlink(link) for link in (process / "fd").iterdir()}
        except OSError:
            continue
    lines = [line.split() for table in ("tcp", "tcp6") for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]]
    return sorted({line[1].split(":")[0] for line in lines if line[3] == "0A" and f"socket:[{line[9]}]" in sockets})

def is_worker(command):
    return b"ray::IDLE" in command or (b"default_worker.py" in command and b"raylet/raylet" not in command)

with ray_session(None):
    context = ray.get_runtime_context()
    without = {name: value for name, value in os.environ.items() if name not in ("RAY_AUTH_TOKEN", "RAY_AUTH_MODE")}
    environments = {
        "without a token": without | {"RAY_NUM_REDIS_GET_RETRIES": "2"},  # by default it tries 20 times, a second apart
        "with the token": dict(os.environ),
    }
    command = [sys.executable, "-c", CLIENT.replace("ADDRESS", context.gcs_address)]
    clients = {who: subprocess.Popen(command, env=each, stdout=subprocess.PIPE, text=True) for who, each in environments.items()}
    clients = {who: client.communicate()[0].strip() for who, client in clients.items()}
    dashboard = ray._private.worker._global_node.webui_url
    addresses = listening()
    folder = ray._private.worker._global_node.get_session_dir_path()
    workers = [command for _, command in living_processes(f"SWEEPER_RAY_SESSION={os.environ['SWEEPER_RAY_SESSION']}") if is_worker(command)]
print(json.dumps({
    "addresses": addresses,
    "workers": len(workers),
    "is_folder_known_before": fnmatch.fnmatchcase(folder, session_folders()),
    "clients": clients,
    "dashboard": dashboard,
    "initialized": ray.is_initialized(),
}))
"""


def test_our_ray_listens_on_loopback_refuses_a_stranger_and_writes_no_token_to_the_home_folder(tmp_path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")} | {"HOME": str(tmp_path)}
    done = subprocess.run([fast_python(), "-c", SESSION], env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["clients"] == {"without a token": "ConnectionError", "with the token": "let in"}
    assert not found["dashboard"]
    assert found["workers"] == 0, "a driver would wait for ever for one that died"
    assert found["is_folder_known_before"], "processes that are left behind would not be found by their log files"
    assert found["addresses"]
    assert all(address.endswith("0100007F") for address in found["addresses"]), "not on loopback alone"
    assert found["initialized"] is False
    assert [path.name for path in tmp_path.rglob("*") if "token" in path.name.lower()] == []


STARTING = """
import time
from sweeper.errors import ClusterError
from sweeper.process.interruption import Aborted, interruptible
from sweeper.cluster.session import ray_session
try:
    with interruptible(ends_the_process=True), ray_session(None):
        time.sleep(20)  # it may have started before its server is killed
except (Aborted, ClusterError) as error:
    print(error)
"""


# 0.08: Ray's compiled code is about to call the server; it waits for 40 to 60 s and answers no signal
@pytest.mark.parametrize("after", [0.0, 0.08, 0.3])
def test_a_ray_that_loses_its_server_while_it_starts_is_given_up_within_seconds(after):
    mark = f"MARK_OF_A_TEST=lost-{after}"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")} | dict([mark.split("=")])
    with subprocess.Popen(
        [fast_python(), "-c", STARTING], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        while not (servers := [pid for pid, command in living_processes(mark) if b"gcs/gcs_server" in command]):
            assert run.poll() is None, run.communicate()
            time.sleep(0.005)
        time.sleep(after)
        os.kill(servers[0], signal.SIGKILL)
        killed = time.monotonic()
        said, errors = run.communicate(timeout=60)
    assert time.monotonic() - killed < 12
    assert "Ray ended under the sweep: its process gcs_server died" in said + errors
    while list(living_processes(mark)):
        assert time.monotonic() - killed < 30
        time.sleep(0.1)


FAILING = """
import os, signal, sys, time
import ray
from sweeper.process.reaper import living_processes
from sweeper.cluster.session import ray_session
MARK = f"MARK_OF_A_TEST={os.environ['MARK_OF_A_TEST']}"
def say():  # as a raylet does that ends
    gcs = ray._private.worker.global_worker.gcs_client
    ray._private.utils.publish_error_to_driver("raylet_died", "Raylet is terminated", gcs_client=gcs)
    time.sleep(1)
shutdown = ray.shutdown
def said_first():
    say()
    shutdown()
try:
    with ray_session(None):
        say()
        if sys.argv[1] == "nothing":
            ray.shutdown = said_first
        else:
            (pid,) = [pid for pid, command in living_processes(MARK) if command.split(b"\\0")[0].endswith(sys.argv[1].encode())]
            os.kill(pid, signal.SIGKILL)
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        raise SystemError("Ray's compiled part made this of an interruption")
except SystemError:
    print("ended")
"""


@pytest.mark.parametrize("lost", ["nothing", "raylet", "gcs_server"])
def test_after_an_error_nothing_of_ray_is_printed_and_no_process_of_it_is_left_whatever_of_it_has_died(lost):
    mark = f"MARK_OF_A_TEST=failing-{lost}"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")} | dict([mark.split("=")])
    environment |= {"RAY_DEDUP_LOGS": "0"}
    command = [fast_python(), "-c", FAILING, lost]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert (done.stdout, done.returncode) == ("ended\n", 0), done.stderr
    assert list(living_processes(mark)) == []


TERMINATED = """
import os, signal, sys, threading, time
import ray
from sweeper.process.interruption import interruptible, set_exit_message
from sweeper.cluster.session import ray_session
def send():
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.3)
    os.kill(os.getpid(), signal.SIGTERM)
with interruptible(ends_the_process=True):
    set_exit_message("saved")
    with ray_session(None):
        if sys.argv[1] == "connected":
            send()
            time.sleep(20)
        shutdown = ray._private.worker._global_node.kill_all_processes  # is called when Ray's compiled part has let go of its handlers
        def after_the_core(*arguments, **options):
            time.sleep(0.1)
            threading.Thread(target=send).start()
            time.sleep(float(sys.argv[1]))
            return shutdown(*arguments, **options)
        ray._private.worker._global_node.kill_all_processes = after_the_core
"""


@pytest.mark.parametrize("moment", ["connected", "1"])
def test_sigterm_ends_a_process_with_130_and_its_last_words_while_ray_runs_and_while_it_is_shut_down(moment):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    command = [fast_python(), "-c", TERMINATED, moment]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stderr) == (130, "interrupted; saved\n")


@pytest.mark.parametrize("where", ["the option", "RAY_ADDRESS"])
@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("127.0.0.1:{port}", "Connection refused"),
        ("no-such-host.invalid:6379", "[Nn]ame|address"),
        ("6379", "invalid literal|Invalid address"),
    ],
)
def test_an_address_where_no_cluster_is_is_told_at_once_and_leaves_nothing(where, address, reason, tmp_path):
    with socket.socket() as taken:  # bound, and not listening: nobody else gets the port meanwhile
        taken.bind(("127.0.0.1", 0))
        address = address.format(port=taken.getsockname()[1])
        arguments = ["--address", address] if where == "the option" else []
        environment = {**os.environ, "RAY_TMPDIR": str(tmp_path)} | ({} if arguments else {"RAY_ADDRESS": address})
        command = [fast_python(), "-m", "sweeper", "run", "search_spaces/quickstart.yaml", "--results", tmp_path / "results", *arguments]
        began = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False, env=environment, cwd=ROOT)
    assert time.monotonic() - began < 30
    assert done.returncode == 2
    assert done.stdout == ""
    last = done.stderr.splitlines()[-1]
    assert re.fullmatch(rf"cannot join the Ray cluster at {re.escape(address)}: .*({reason}).*; check the address with `ray status`", last)
    assert not (tmp_path / "results").exists()
