"""How errors get out of Ray Tune's hooks: Tune treats every ``Exception`` in a hook as a failed trial, and continues."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from sweeper.process.interruption import raise_if_interrupted

P = ParamSpec("P")
R = TypeVar("R")


class HookError(BaseException):
    """Carries ``error`` out of a hook. Not an ``Exception``, so Tune lets it pass."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


def wrap_exceptions(hook: Callable[P, R]) -> Callable[P, R]:
    """The hook, with whatever it raises wrapped in :class:`HookError`; an interruption that was swallowed on its way is raised again."""

    @functools.wraps(hook)
    def wrapped_hook(*args: P.args, **kwargs: P.kwargs) -> R:
        raise_if_interrupted()
        try:
            return hook(*args, **kwargs)
        except Exception as error:
            raise HookError(error) from error

    return wrapped_hook
