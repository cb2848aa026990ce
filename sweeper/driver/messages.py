"""The messages between the driver and a Trainable, as JSON text: Tune keeps every last result, and text is cheapest to keep."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from sweeper.records import EpochMetrics, Phase, TestMetrics, TrialConfig

REPORT_KEY = "report"
"""Key of the message in the result of a Trainable."""

NODE_KEY = "node"
"""Key of the id of the node that the Trainable runs on."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A member that could not be trained: the first line of the error, its traceback, and whether the device was out of memory.

    ``node_lost``: its node was preempted or cut off, which is no fault of the trial.
    """

    error: str
    traceback: str
    out_of_memory: bool = False
    node_lost: bool = False


@dataclass(frozen=True, slots=True)
class PackReport:
    """News of a pack's members by trial id. ``epochs`` may repeat epochs that the driver has seen: after a resume, all since the first.

    ``fatal``: why the sweep cannot go on; its folder cannot be read or written, or there is no device. ``notice``: a line for the user.
    """

    device: str
    epochs: dict[str, list[EpochMetrics]] = field(default_factory=dict)
    tests: dict[str, TestMetrics] = field(default_factory=dict)
    failures: dict[str, Failure] = field(default_factory=dict)
    fatal: str | None = None
    notice: str | None = None

    def to_json(self) -> str:
        """Text for :meth:`from_json`; numbers that are not finite stay what they are."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> PackReport:
        """The report that :meth:`to_json` wrote."""
        content = json.loads(text)
        return cls(
            device=content["device"],
            epochs={trial: [EpochMetrics(**epoch) for epoch in epochs] for trial, epochs in content["epochs"].items()},
            tests={trial: TestMetrics(**test) for trial, test in content["tests"].items()},
            failures={trial: Failure(**failure) for trial, failure in content["failures"].items()},
            fatal=content["fatal"],
            notice=content["notice"],
        )


def members_to_json(members: Sequence[TrialConfig]) -> str:
    """The members of a pack as text, for :func:`members_from_json`."""
    return json.dumps([{**asdict(member), "parameters": dict(member.parameters)} for member in members])


def members_from_json(text: str) -> list[TrialConfig]:
    """The members of a pack, from :func:`members_to_json`."""
    return [TrialConfig(**{**member, "phase": Phase(member["phase"])}) for member in json.loads(text)]
