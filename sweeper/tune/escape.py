"""A way out of Ray Tune's hooks for errors of ours: Tune takes every ``Exception`` in a hook for a failed trial, and goes on."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from sweeper.interruption import raise_if_interrupted

P = ParamSpec("P")
R = TypeVar("R")


class Escape(BaseException):
    """Carries ``error`` out of a hook. Not an ``Exception``, so Tune lets it pass."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


def escaping(hook: Callable[P, R]) -> Callable[P, R]:
    """The hook, with whatever it raises wrapped in :class:`Escape`; an interruption that was swallowed on its way is raised again."""

    @functools.wraps(hook)
    def escaping_hook(*args: P.args, **kwargs: P.kwargs) -> R:
        raise_if_interrupted()
        try:
            return hook(*args, **kwargs)
        except Exception as error:
            raise Escape(error) from error

    return escaping_hook
