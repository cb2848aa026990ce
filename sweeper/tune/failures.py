"""What Ray reports about a process that died, in words for users."""

from __future__ import annotations

import re

from sweeper.driver.messages import Failure

_EXCEPTION = re.compile(r"^(?:[\w.]+\.)?(\w*(?:Error|Exception|Exit|Interrupt|Warning)): (.+)$")
_WORKER_DIED = (
    *("ActorDiedError", "ActorUnavailableError", "RayActorError", "WorkerCrashedError", "OwnerDiedError", "NodeDiedError"),
    *("The actor is dead because", "The actor died"),  # where Tune keeps Ray's message without the name of its class
)
_OUT_OF_MEMORY = ("OutOfMemoryError", "OutOfMemory")


def failure_of(text: str) -> Failure:
    """The failure behind the text of Ray's error: its cause in one line, and the whole text as the traceback."""
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
