"""What is used of Tune beside its public API is there and does what it is used for.

What needs a running Ray for it is tested in ``tests/cluster/test_ray_internals.py``: with a new Ray, run that first.
"""

import contextlib
import inspect
import sys
from pathlib import Path

import pytest
import ray
from ray import tune
from ray.tune.schedulers import TrialScheduler

from sweeper.tune import tune_internals
from sweeper.tune.scheduler import PackScheduler
from sweeper.tune.tune_internals import failure_of

ACTOR_DIED = """ray.exceptions.ActorDiedError: The actor died unexpectedly before finishing this task.
	class_name: with_resources.<locals>.ResourceTrainable
	pid: 26113
The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: Worker unexpectedly exits with a \
connection error code 2. End of file. Some common causes include: (1) the process was killed by the OOM killer due to high memory usage."""
OUT_OF_MEMORY = "ray.exceptions.OutOfMemoryError: Task was killed due to the node running low on memory.\nMemory on the node was 23GB"
USERS_ERROR = """Traceback (most recent call last):
  File "trainable.py", line 1, in step
    raise KeyError
ray.exceptions.RayTaskError(KeyError): ray::PackTrainable.train() (pid=1)
  File "x.py", line 2
KeyError: 'learning_rate'"""


@pytest.mark.parametrize(
    ("text", "error", "out_of_memory"),
    [
        (ACTOR_DIED, "the worker process died: Worker unexpectedly exits with a connection error code 2", False),
        (USERS_ERROR, "KeyError: 'learning_rate'", False),
        ("", "the worker process died", False),
        ("something without a name", "something without a name", False),
        ("torch.cuda.OutOfMemoryError: CUDA out of memory.", "OutOfMemoryError: CUDA out of memory.", True),
    ],
)
def test_the_cause_is_told_in_one_line_and_the_whole_text_kept(text, error, out_of_memory):
    failure = failure_of(text)
    assert failure.error == error
    assert failure.traceback == text
    assert failure.out_of_memory is out_of_memory


def test_a_worker_that_ray_ended_for_its_memory_is_out_of_memory():
    failure = failure_of(OUT_OF_MEMORY)
    assert failure.out_of_memory
    assert "memory" in failure.error


def test_a_process_that_died_is_known_by_the_words_of_ray_alone():
    text = "The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: It exits."
    failure = failure_of(text)
    assert failure.error.startswith("the worker process died: It exits")
    assert failure.traceback == text


@contextlib.contextmanager
def needs(function, part):
    """Fail with one sentence where the block fails: the installed Ray has changed."""
    try:
        yield
    except Exception as error:
        said = f"{type(error).__name__}: {error}".splitlines()[0]
        pytest.fail(f"Ray {ray.__version__} no longer has {part} as sweeper.tune.tune_internals.{function} needs it: {said}", pytrace=False)


@pytest.mark.parametrize("name", sorted(tune_internals._SETTINGS))
def test_tune_knows_each_setting(name):
    with needs("set_environment", f"a setting {name}"):
        assert any(name in file.read_text() for file in Path(tune.__file__).parent.rglob("*.py"))


def test_tune_asks_a_scheduler_whether_results_may_be_buffered():
    with needs("PackScheduler", "the property supports_buffered_results of its schedulers"):
        assert isinstance(TrialScheduler.supports_buffered_results, property)
        assert "scheduler.supports_buffered_results" in inspect.getsource(sys.modules["ray.tune.tune"])
    assert PackScheduler(None).supports_buffered_results is False
