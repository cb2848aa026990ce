"""What the panel says of the machine. A program of ours stands in for nvidia-smi, in its documented output format."""

import re
import time

import pytest

from sweeper.view import devices
from sweeper.view.devices import DeviceUse


@pytest.fixture
def smi(tmp_path, monkeypatch):
    """Put a program of this text in the place of nvidia-smi; what it is called with is left in ``calls``."""

    def install(text):
        program = tmp_path / "nvidia-smi"
        program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n{text}\n')
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
        monkeypatch.setattr(devices, "POLL_SECONDS", 0.0)
        return tmp_path / "calls"

    return install


def test_the_use_of_all_gpus_is_their_mean_and_their_memory_the_sum(smi):
    calls = smi("echo '80, 1024, 81920'; echo '40, 2048, 81920'")
    assert re.fullmatch(r"(cpu \d+ %, )?gpu 60 % \(3\.0 of 160\.0 GiB\)", DeviceUse().text())
    assert calls.read_text() == "--query-gpu=utilization.gpu,memory.used,memory.total --format=csv,noheader,nounits\n"


@pytest.mark.parametrize("answer", ["echo 'No devices were found' >&2; exit 6", "echo '[N/A], 1, 2'", "exit 0"])
def test_a_driver_that_does_not_answer_is_asked_once(smi, answer):
    calls = smi(answer)
    use = DeviceUse()
    assert "gpu" not in use.text() + use.text() + use.text()
    assert len(calls.read_text().splitlines()) == 1


def test_the_processors_are_busy_while_something_computes(monkeypatch):
    monkeypatch.setattr(devices, "POLL_SECONDS", 0.0)
    monkeypatch.setenv("PATH", "")
    use = DeviceUse()
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        pass
    share = re.fullmatch(r"cpu (\d+) %", use.text())
    assert share is not None
    assert 0 < int(share[1]) <= 100


def test_within_two_seconds_the_text_stays_as_it_was(smi, monkeypatch):
    calls = smi("echo '80, 1024, 81920'")
    monkeypatch.setattr(devices, "POLL_SECONDS", 60.0)
    use = DeviceUse()
    assert use.text() == use.text()
    assert len(calls.read_text().splitlines()) == 1
