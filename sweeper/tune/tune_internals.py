"""What this package uses of Ray Tune that is no public API: each part behind one function, which says why no public way serves.

For the versions of :data:`sweeper.cluster.ray_internals.VERSIONS`; ``tests/tune/test_tune_internals.py`` has a test for each part.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from sweeper.driver.messages import Failure

_DAYS = 86400

_SETTINGS = {
    "TUNE_MAX_PENDING_TRIALS_PG": str(10**6),  # the searcher has a limit of its own, which changes with the cluster
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": str(365 * _DAYS),
    "TUNE_WARN_SLOW_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": str(_DAYS),
    # our recorder writes the results, and our progress shows them
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "RAY_AIR_NEW_OUTPUT": "0",
}
"""What Tune reads from its driver's environment while it runs, and, but for the first, takes from nowhere else."""

_EXCEPTION = re.compile(r"^(?:[\w.]+\.)?(\w*(?:Error|Exception|Exit|Interrupt|Warning)): (.+)$")
_WORKER_DIED = (
    *("ActorDiedError", "ActorUnavailableError", "RayActorError", "WorkerCrashedError", "OwnerDiedError", "NodeDiedError"),
    *("The actor is dead because", "The actor died"),  # where Tune keeps Ray's message without the name of its class
)
_OUT_OF_MEMORY = ("OutOfMemoryError", "OutOfMemory")


def set_environment() -> None:
    """Set what Tune reads from the environment; :func:`sweeper.cluster.session.ray_session` puts back what was there."""
    os.environ.update(_SETTINGS)


def actor_of(trial: Any) -> Any:
    """The actor that trains a Tune trial: Tune's schedulers can stop and pause a trial, but tell it nothing."""
    return trial.temporary_state.ray_actor


def error_of(trial: Any) -> str:
    """The text of the error that Ray gave for a Tune trial: ``get_error`` reads the copy among the results, which is not there yet."""
    return Path(trial.error_file).read_text() if trial.error_file else ""


def failure_of(text: str) -> Failure:
    """The failure behind the text of Ray's error: its cause in one line, and the whole text as the traceback.

    By Ray's own words: Tune keeps the text alone.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    out_of_memory = any(word in text for word in _OUT_OF_MEMORY) or "node running low on memory" in text
    named = [found for line in lines if (found := _EXCEPTION.match(line))]
    if out_of_memory and not any(found[1] == "OutOfMemoryError" for found in named):
        return Failure("the worker process was killed: the node ran out of memory", text, out_of_memory=True)
    if not lines or any(word in text for word in _WORKER_DIED):
        reason = next((line for line in lines if line.startswith("Worker exit type:") or "exit detail:" in line), "")
        detail = re.search(r"exit detail: (.*?)(?:\.|$)", text)
        said = detail[1].strip() if detail else reason
        return Failure(f"the worker process died{': ' + said if said else ''}", text)
    if named:
        return Failure(f"{named[-1][1]}: {named[-1][2]}", text, out_of_memory)
    return Failure(lines[-1], text, out_of_memory)
