"""Ctrl-C, SIGTERM and lost clusters: the main thread hears of them as an exception, and the process ends within ten seconds.

Everything that a sweep has decided is on the disk at every moment, so a process that cannot put its things in order in time may simply end.
Signals belong to the process: so does the state of this module.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

from sweeper import caretaker
from sweeper.errors import SweeperError

GRACE_SECONDS = 7.0
"""How long the process may take to put its things in order after the first signal."""

EXIT_CODE = 130

_MOMENT = 0.05
"""Seconds until an exception that was lost in a finalizer is raised again: by then the finalizer has returned."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """Ctrl-C or SIGTERM: like ``KeyboardInterrupt``, no ``except Exception`` on the way may swallow it."""


class Aborted(BaseException):
    """Another thread found that the sweep cannot go on. ``error`` says why."""

    def __init__(self, error: SweeperError) -> None:
        super().__init__(str(error))
        self.error = error


class _State:
    """What the process was told, and what it says when it ends."""

    def __init__(self) -> None:
        self.depth = 0
        self.reason: Interrupted | Aborted | None = None
        self.farewell = ""
        self.countdown: threading.Timer | None = None
        self.lock = threading.Lock()


_state = _State()


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Raise :class:`Interrupted` in the block at the first SIGINT, SIGTERM or SIGHUP, and :class:`Aborted` when :func:`abort` is called.

    Later signals are ignored while the block puts its things in order. Blocks may be nested. Does nothing outside the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {each: signal.getsignal(each) for each in _SIGNALS}
    if _state.depth == 0:
        _state.reason, _state.farewell, _state.countdown = None, "", None
    _state.depth += 1
    for each in _SIGNALS:
        if each is not signal.SIGHUP or before[each] is not signal.SIG_IGN:  # nohup
            signal.signal(each, _heard)
    outermost = _state.depth == 1
    try:
        with _wake_a_thread() if outermost else contextlib.nullcontext(), _raised_again() if outermost else contextlib.nullcontext():
            yield
    except Exception as error:
        if _state.reason is not None:  # Ray's compiled parts turn an exception that a signal raises in them into a SystemError
            raise _state.reason from error
        raise
    finally:
        _state.depth -= 1
        if _state.depth == 0 and _state.countdown is not None:
            _state.countdown.cancel()
        for each, handler in before.items():
            signal.signal(each, handler if handler is not None else signal.SIG_DFL)


def raise_if_interrupted() -> None:
    """Raise again what was raised before, and got lost in a place that swallows every exception (a finalizer, a foreign callback)."""
    if _state.reason is not None:
        raise _state.reason


def abort(error: SweeperError) -> None:
    """Raise :class:`Aborted` in the main thread, from any other one; the process ends in time even where the main thread does not hear.

    The user is told at once: a library whose cluster is gone may end the process before the main thread can say anything.
    """
    with _state.lock:
        if _state.reason is None:
            _state.reason = Aborted(error)
            _write(f"{error}\n{_state.farewell}")
            caretaker.at_a_sudden_end(say="")
            _end_in_time(1)
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


def settle() -> None:
    """The caller answers for what was heard: blocks further out do not raise it again."""
    _state.reason = None


def say_at_the_end(text: str) -> None:
    """Set what the user is told when the process is interrupted from here on, even if it is killed."""
    _state.farewell = text
    caretaker.at_a_sudden_end(say=text)


def farewell() -> str:
    """What was set to be said at the end."""
    return _state.farewell


def last_words() -> str:
    """What the user is to be told of an interruption."""
    return f"interrupted; {_state.farewell}" if _state.farewell else "interrupted"


def _heard(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    for each in _SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    if _state.reason is None:
        _state.reason = Interrupted()
    raise _state.reason


@contextlib.contextmanager
def _wake_a_thread() -> Iterator[None]:
    """Have a thread count the seconds from the first signal on: the main thread may be deep in a library and hear nothing for long."""
    readable, writable = os.pipe()
    os.set_blocking(writable, False)
    before = signal.set_wakeup_fd(writable, warn_on_full_buffer=False)

    def wait() -> None:
        while number := os.read(readable, 1):
            if number[0] in _SIGNALS and _state.countdown is None:
                _end_in_time(EXIT_CODE)
        os.close(readable)

    threading.Thread(target=wait, name="sweeper-signals", daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(writable)


@contextlib.contextmanager
def _raised_again() -> Iterator[None]:
    """Raise again, a moment later, what was raised in a finalizer or a callback: Python prints such an exception and goes on."""
    before = sys.unraisablehook

    def again(lost: sys.UnraisableHookArgs) -> None:
        if lost.exc_type is None or not issubclass(lost.exc_type, Interrupted | Aborted):
            before(lost)
            return
        signal.signal(signal.SIGINT, _heard)
        threading.Timer(_MOMENT, signal.pthread_kill, [threading.main_thread().ident, signal.SIGINT]).start()

    sys.unraisablehook = again
    try:
        yield
    finally:
        sys.unraisablehook = before


def _end_in_time(exit_code: int) -> None:
    def end() -> None:
        if not isinstance(_state.reason, Aborted):  # which was told when it was found
            _write(last_words())
            caretaker.at_a_sudden_end(say="")
        os._exit(exit_code)

    _state.countdown = threading.Timer(GRACE_SECONDS, end)
    _state.countdown.daemon = True
    _state.countdown.start()


def _write(text: str) -> None:
    """Write a line to stderr past Python's buffers, whose lock the main thread may hold."""
    if text:
        with contextlib.suppress(OSError):
            os.write(2, f"{text}\n".encode())
