"""A cluster of real hosts, as far as the kernel of one machine can make them: ``ray up``, a sweep that loses a worker, ``ray down``.

Three hosts and a laptop with sshd, file systems and addresses of their own, and an S3 server beside them. The tests are the steps of one
journey, in their order.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from .hosts import Host, Network, why_not
from .onprem import PROJECT, rendered

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1500)]

LAPTOP, HEAD, WORKERS, STORAGE = "10.77.0.100", "10.77.0.1", ("10.77.0.2", "10.77.0.3"), "10.77.0.250"
ENVIRONMENT = f"AWS_ENDPOINT_URL=http://{STORAGE}:5000 AWS_ACCESS_KEY_ID=testing AWS_SECRET_ACCESS_KEY=testing AWS_DEFAULT_REGION=us-east-1"
RESULTS = "s3://results/sweeps"
SPACE = "~/sweeper/tests/cluster/space.yaml"
N_TRIALS, N_EPOCHS = 12, 10

STARTED = time.monotonic()


@dataclass
class Journey:
    """The hosts, and the cluster file that the laptop uses."""

    laptop: Host
    head: Host
    workers: tuple[Host, ...]
    file: str
    requests: Path

    def exec(self, command: str, timeout: float = 120) -> str:
        """What a command on the head prints, called as a user calls it."""
        return self.laptop.run(f"ray exec {self.file} {shlex.quote(command)}", timeout)

    def submit(self, name: str, command: str) -> None:
        self.exec(f"ray job submit --no-wait --submission-id {name} -- {command}")

    def log(self, name: str) -> str:
        """What a job has said, read from Ray's file: `ray job logs` starts an interpreter each time, on the cores that train."""
        return self.head.run(f"cat /tmp/ray/session_latest/logs/job-driver-{name}.log 2>/dev/null || true")

    def runs(self) -> bool:
        """Whether a driver is at work."""
        return bool(self.head.processes("bin/sweep "))

    def ended(self, name: str, seconds: float) -> str:
        """Wait for the end of a job; returns what `ray job status` says of it."""
        wait(lambda: f"entrypoint for job {name}" in self.log(name), f"the beginning of {name}", 60)
        wait(lambda: not self.runs(), f"the end of {name}", seconds)
        return self.exec(f"ray job status {name}").upper()

    def stored_by(self, address: str) -> int:
        """Checkpoints that a host has written to the S3 server."""
        return sum(
            line.startswith(address) and '"PUT ' in line and "/checkpoints/" in line for line in self.requests.read_text().splitlines()
        )

    def read_back(self) -> int:
        """Checkpoints that have been read from the S3 server."""
        return sum('"GET ' in line and '.npz HTTP/1.1" 20' in line for line in self.requests.read_text().splitlines())

    def both_workers(self) -> bool:
        return "/2.0 CPU" in self.head.run(". ~/.bashrc; ray status 2>&1 || true")

    def found(self, name: str) -> dict[str, Any]:
        """What lies on the S3 server of the one sweep of this name, read on the laptop."""
        lines = self.laptop.run(f"{ENVIRONMENT} python -c {shlex.quote(READ)} {name}").splitlines()
        return dict(json.loads(lines[-1]))


READ = f"""
import json, sys
from sweeper.store import find_sweeps
(sweep,) = [each for each in find_sweeps('{RESULTS}') if each.id.startswith(sys.argv[1] + '-')]
trials, epochs = sweep.read_trials().frame, sweep.read_epochs().frame
print(json.dumps({{
    'id': sweep.id,
    'states': trials.state.value_counts().to_dict(),
    'attempts': int(trials.attempts.max()) if len(trials) else 0,
    'epochs': {{trial: sorted(map(int, rows.epoch)) for trial, rows in epochs.groupby('trial')}},
    'predictions': len(sweep.read_predictions().frame),
}}))
"""


@pytest.fixture(scope="module")
def journey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Journey]:
    if reason := why_not():
        pytest.skip(reason)
    moto_server = Path(sys.executable).with_name("moto_server")
    if not moto_server.exists():
        pytest.skip("needs moto[server]")
    scratch = tmp_path_factory.mktemp("hosts")
    keys = scratch / "keys"
    keys.mkdir()
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(keys / "id_ed25519")], check=True)
    (keys / "authorized_keys").write_text((keys / "id_ed25519.pub").read_text())
    requests = scratch / "s3.log"
    with Network(scratch) as network:
        network.give_address(STORAGE)
        with network.server([str(moto_server), "-H", STORAGE, "-p", "5000"], requests):
            laptop, head = network.host("laptop", LAPTOP, keys), network.host("head", HEAD, keys)
            workers = tuple(network.host(f"worker{number}", address, keys) for number, address in enumerate(WORKERS, start=1))
            bucket = f"import boto3; boto3.client('s3', endpoint_url='http://{STORAGE}:5000').create_bucket(Bucket='results')"
            wait(lambda: "Running on" in requests.read_text(), "the S3 server", 60)
            laptop.run(f'{ENVIRONMENT} python -c "{bucket}"')
            laptop.write("cluster.yaml", rendered(HEAD, WORKERS, RESULTS, ENVIRONMENT))
            yield Journey(laptop, head, workers, "~/cluster.yaml", requests)
    assert not list(Path("/proc/self/mountinfo").read_text().split(str(scratch)))[1:], "a mount was left behind"


def wait(condition: Callable[[], object], what: str, seconds: float) -> None:
    """Wait until the condition holds, and say how long it took."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > seconds:
            pytest.fail(f"waited {seconds:g} s for {what} in vain")
        time.sleep(1)
    note(f"{what}: after {time.monotonic() - began:.0f} s")


def note(line: str) -> None:
    sys.stderr.write(f"[{time.monotonic() - STARTED:4.0f} s] {line}\n")


def test_ray_up_brings_up_every_host(journey: Journey) -> None:
    journey.laptop.run(f"cd {PROJECT} && ray up -y {journey.file}", timeout=300)
    note("ray up has returned")
    wait(journey.both_workers, "both workers in `ray status`", 240)
    status = journey.exec("ray status")
    assert "3 local.cluster.node" in status
    assert "0.0/2.0 CPU" in status  # the head has none


def test_every_host_has_the_project_and_the_token_that_only_its_owner_reads(journey: Journey) -> None:
    tokens = set()
    for host in (journey.head, *journey.workers):
        assert host.run("stat -c %a ~/.ray/auth_token").strip() == "600"
        tokens.add(host.run("cat ~/.ray/auth_token"))
        assert "/home/host/venv" in host.run(". ~/.bashrc; python -c 'import sweeper; print(sweeper.__file__)'")
    assert len(tokens) == 1


def test_without_the_token_nobody_comes_in_and_the_dashboard_listens_to_the_head_alone(journey: Journey) -> None:
    listening = journey.head.run("ss -Hltn 'sport = :8265'").split()
    assert "127.0.0.1:8265" in listening
    stranger = f"RAY_AUTH_MODE=disabled timeout 60 python -c \"import ray; ray.init(address='{HEAD}:6379')\""
    with pytest.raises(RuntimeError, match=r"(?i)auth|token"):
        journey.workers[0].run(f"mkdir -p ~/stranger && HOME=~/stranger {stranger}", timeout=90)


def test_results_that_the_workers_would_not_see_are_refused_before_anything_is_spent(journey: Journey) -> None:
    journey.submit("blind", f"sweep run {SPACE} --results ~/results")
    assert "FAILED" in journey.ended("blind", 240)
    said = journey.log("blind")
    assert "does not see what the driver writes there" in said
    assert "set --results to object storage (s3://BUCKET/PREFIX)" in said
    assert not journey.head.run("ls ~/results").strip()


def test_a_sweep_ends_whole_though_a_worker_is_cut_off_in_the_middle_of_a_trial(journey: Journey) -> None:
    journey.submit("sweep", f"sweep run {SPACE} --results $SWEEP_RESULTS -v")
    lost, address = journey.workers[1], WORKERS[1]
    wait(lambda: journey.stored_by(address) >= 1, "a checkpoint of the second worker", 240)  # after the first epoch of its pack
    lost.unplug()
    note("the second worker is cut off")
    before = journey.read_back()
    wait(lambda: f"its node {address} was lost" in journey.log("sweep"), "the driver to miss it", 180)
    lost.plug_in()
    assert "SUCCEEDED" in journey.ended("sweep", 300), journey.log("sweep")
    assert journey.read_back() > before  # the trial went on from its checkpoint


def test_the_report_is_read_from_outside_the_cluster_and_nothing_is_missing_or_doubled(journey: Journey) -> None:
    report = journey.laptop.run(f"{ENVIRONMENT} sweep report {RESULTS}", timeout=120)
    note(f"the report on the laptop begins:\n{report[:400]}")
    assert "12 of 12 trials finished" in report.replace("\n", " ")
    found = journey.found("cluster")
    assert found["states"] == {"complete": N_TRIALS}
    assert found["attempts"] == 1  # the lost node is not held against the trial
    assert len(found["epochs"]) == N_TRIALS
    assert all(epochs == list(range(1, N_EPOCHS + 1)) for epochs in found["epochs"].values())
    assert found["predictions"] == 4 * (1000 + 1000)  # confirm trials × images of test and validation


def test_the_cut_off_worker_comes_back_by_itself(journey: Journey) -> None:
    wait(journey.both_workers, "the lost worker in `ray status` again", 180)


def test_ray_up_on_a_running_cluster_starts_it_anew_and_nothing_of_the_old_one_stays(journey: Journey) -> None:
    journey.laptop.run(f"cd {PROJECT} && ray up -y {journey.file}", timeout=300)
    note("ray up has returned")
    wait(journey.both_workers, "both workers in `ray status`", 240)
    for host in journey.workers:
        assert len(host.processes("/ray start ")) == 1, host.processes("ray")


def test_a_sweep_whose_head_is_lost_is_resumed_from_object_storage(journey: Journey) -> None:
    short = "--trials-per-arm 2 --seeds 0 --epochs 20 --name again"
    journey.submit("first", f"sweep run {SPACE} --results $SWEEP_RESULTS {short}")
    already = [journey.stored_by(address) for address in WORKERS]
    wait(lambda: all(journey.stored_by(a) > n for a, n in zip(WORKERS, already, strict=True)), "a checkpoint of each worker", 240)
    journey.head.run(". ~/.bashrc; ray stop --force")
    note("the head is lost")
    before = journey.found("again")
    assert before["states"] == {} or sum(before["states"].values()) < 4
    journey.laptop.run(f"cd {PROJECT} && ray up -y {journey.file}", timeout=300)
    note("ray up has returned")
    read = journey.read_back()
    journey.submit("second", f"sweep resume {RESULTS}/{before['id']}")
    assert "SUCCEEDED" in journey.ended("second", 300), journey.log("second")
    found = journey.found("again")
    assert found["states"] == {"complete": 4}
    assert all(epochs == list(range(1, 21)) for epochs in found["epochs"].values())
    assert journey.read_back() > read


def test_ray_down_leaves_nothing_running(journey: Journey) -> None:
    journey.laptop.run(f"ray down -y {journey.file}", timeout=120)
    hosts = (journey.head, *journey.workers)
    try:
        wait(lambda: not any(host.processes("ray") for host in hosts), "the last process of Ray to end", 180)
    finally:
        for host in hosts:
            note(f"{host.name}: {host.processes('ray')}")
