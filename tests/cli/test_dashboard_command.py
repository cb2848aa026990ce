"""optuna-dashboard on a sweep, in a process of its own, on the loopback interface."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess

import pytest
from finished_sweep import sweep
from forked_python import fast_python


@pytest.fixture
def port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def request(path, port, method="GET"):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, path)
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_the_dashboard_shows_every_study_changes_nothing_and_ends_with_ctrl_c(finished_sweep, port):
    pytest.importorskip("optuna_dashboard")
    journal = finished_sweep.path / "studies.journal"
    before = journal.read_bytes()
    command = [fast_python(), "-m", "sweeper", "dashboard", str(finished_sweep.path), "--port", str(port)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as served:
        try:
            assert served.stderr.readline() == f"{finished_sweep.id} at http://127.0.0.1:{port}/dashboard/ (Ctrl-C ends it)\n"
            studies = json.loads(request("/api/studies", port)[1])["study_summaries"]
            names = [study["study_name"] for study in studies]
            assert names[:2] == ["cross_entropy", "focal"]
            assert sorted(names[2:]) == ["cross_entropy/confirm", "focal/confirm"]  # first whose search ended first
            assert request("/dashboard/", port)[0] == 200
            assert len(json.loads(request("/api/studies/1?after=0", port)[1])["trials"]) == 4
            assert request("/api/studies/1", port, "DELETE")[0] == 500
        finally:
            served.send_signal(signal.SIGINT)
            served.wait(20)
    assert served.returncode == 0
    assert journal.read_bytes() == before


def test_a_port_that_is_taken_is_named(finished_sweep):
    pytest.importorskip("optuna_dashboard")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        done = sweep("dashboard", finished_sweep.path, "--port", number)
    assert done.returncode == 2
    assert done.stderr == f"cannot serve on 127.0.0.1:{number}: port {number} is taken; choose another with --port\n"


def test_without_the_package_the_command_that_installs_it_is_named(finished_sweep, tmp_path):
    (tmp_path / "optuna_dashboard.py").write_text("raise ModuleNotFoundError(\"No module named 'optuna_dashboard'\")\n")
    done = sweep("dashboard", finished_sweep.path, env={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert (done.returncode, done.stderr) == (2, "optuna-dashboard is not installed: pip install optuna-dashboard\n")


def test_a_sweep_without_studies_has_no_dashboard(finished_sweep, tmp_path):
    folder = tmp_path / "results" / "bare"
    folder.mkdir(parents=True)
    (folder / "sweep.yaml").write_text((finished_sweep.path / "sweep.yaml").read_text())
    done = sweep("dashboard", folder)
    assert done.returncode == 2
    assert re.match(rf"{folder}: no studies\.journal on this machine", done.stderr)
