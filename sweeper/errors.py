"""The exceptions. Each message names the file, the key, the rule, the value and how to fix it.

Only ``sweeper.cli`` turns a :class:`SweeperError` into an exit code; nothing else catches all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class SweeperError(Exception):
    """A mistake of the user, or a fault of the environment, that the message explains and helps to fix.

    ``exit_code`` is what the command line ends with: 2 for usage or invalid input, 1 for a sweep that ended badly.
    """

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a file: the line (1-based, ``None`` where no line is to blame), the dotted key, and the rule with the value."""

    line: int | None
    key: str
    message: str

    def __str__(self) -> str:
        place = f"line {self.line}" if self.line is not None else ""
        return f"  {place:<9}{self.key + ': ' if self.key else ''}{self.message}"


class SpaceError(SweeperError):
    """A space file that cannot be run, with every mistake found in it, in the order of their lines."""

    def __init__(self, source: str, problems: Sequence[Problem]) -> None:
        self.source = source
        self.problems = tuple(sorted(problems, key=lambda problem: problem.line or 0))
        n_problems = len(self.problems)
        heading = f"{source}: {n_problems} problem{'' if n_problems == 1 else 's'}"
        super().__init__("\n".join([heading, *map(str, self.problems)]))


class DataError(SweeperError):
    """A data set that is missing, unreadable, or does not fit the space; the message names the ways out."""


class StoreError(SweeperError):
    """A results folder or file that cannot be read or written."""


class FolderExistsError(StoreError):
    """A new sweep whose folder another sweep has."""


class NoSweepError(StoreError):
    """A place that could be looked at and holds no sweep."""


class StorageAwayError(StoreError):
    """Object storage that cannot be reached, or has too much to do, and may answer again."""


class StudyError(SweeperError):
    """A study whose content contradicts the sweep it belongs to."""


class ClusterError(SweeperError):
    """A Ray cluster that cannot be started or joined, or that can never run a trial of this sweep."""


class TrainingError(SweeperError):
    """A trial that cannot be trained as configured (an unknown loss, a user's loss that fails)."""

    exit_code = 1


class ModelError(TrainingError):
    """A model that cannot be built for a data set's images, or one of the user's own that breaks a rule that every model must keep."""

    exit_code = 2
