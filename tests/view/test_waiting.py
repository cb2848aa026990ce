"""What is said while nothing else is."""

import io
import time

import pytest

from sweeper.view.waiting import Waiting, announcing


def test_what_goes_on_is_said_within_two_seconds_and_again_and_not_after_the_end():
    said = []
    began = time.monotonic()
    with announcing("loading", lambda line: said.append((time.monotonic() - began, line))):
        while len(said) < 2 and time.monotonic() - began < 10:
            time.sleep(0.05)
    so_far = len(said)
    time.sleep(1.3)
    assert len(said) == so_far
    moments, lines = zip(*said, strict=True)
    assert list(lines) == ["loading (1 s)", "loading (2 s)"]
    assert moments[0] < 2
    assert moments[1] - moments[0] < 2


def test_nothing_is_said_of_what_is_quick_nor_while_others_speak_nor_when_nobody_listens():
    said = []
    waiting = Waiting(said.append)
    for step in range(12):
        waiting.begin(f"step {step}")
        waiting.reset()
        time.sleep(0.1)
    waiting.close()
    with announcing("loading", None):
        time.sleep(1.2)
    assert said == []


@pytest.mark.parametrize("error", [BrokenPipeError, ValueError])
def test_a_pipe_that_is_closed_ends_the_telling_alone(error):
    class Closed(io.StringIO):
        def write(self, text):
            raise error

    waiting = Waiting(Closed().write)
    waiting.begin("loading")
    time.sleep(1.4)
    waiting.begin("more")
    waiting.close()
