"""Ctrl-C, SIGTERM and lost clusters are raised as an exception in the thread that runs the sweep.

Everything that a sweep has decided is on the disk at every moment, so if the command line cannot clean up in time, it simply exits. A
program that uses this package as a library is never terminated, and its signal handlers are restored. Signals are global to the process,
and so is the state of this module.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType

from sweeper.errors import SweeperError
from sweeper.process import reaper

GRACE_SECONDS = 7.0
"""How long the process may take to clean up after the first signal."""

EXIT_CODE = 130

_MOMENT = 0.05
"""Seconds until an exception that was lost in a finalizer is raised again: by then the finalizer has returned."""

_POLL_SECONDS = 0.003

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_SET_BY_TUNE = (signal.SIGUSR1,)

_SET_BY_RAY = (signal.SIGTERM, signal.SIGALRM)
"""What Ray's compiled part answers by itself from the moment it connects to the moment it shuts down."""

_SET_BY_RAY_AT_A_CRASH = (signal.SIGSEGV, signal.SIGILL, signal.SIGFPE, signal.SIGABRT, signal.SIGBUS)

_libc = ctypes.CDLL(None)
_libc.sigaction.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
_BYTES_OF_A_HANDLER = 512
"""More than a ``struct sigaction`` has on any system."""


class BusyError(SweeperError):
    """A sweep that would start in a process where another thread runs one: Ray is one for the process."""


class Interrupted(BaseException):
    """Ctrl-C or SIGTERM: like ``KeyboardInterrupt``, no ``except Exception`` on the way may swallow it."""


class Aborted(BaseException):
    """Another thread found that the sweep cannot go on. ``error`` says why."""

    def __init__(self, error: SweeperError) -> None:
        super().__init__(str(error))
        self.error = error


class _State:
    """What the process was told, and what it says when it ends. ``due``: the next signal raises ``reason`` once more."""

    def __init__(self) -> None:
        self.depth = 0
        self.lock = threading.Lock()
        self.begin(ends_the_process=False)

    def begin(self, *, ends_the_process: bool) -> None:
        self.thread = threading.get_ident()
        self.ends_the_process = ends_the_process
        self.reason: Interrupted | Aborted | None = None
        self.due = False
        self.signalled_at = 0.0
        self.exit_message = ""
        self.countdown: threading.Timer | None = None


_state = _State()


@contextlib.contextmanager
def interruptible(*, ends_the_process: bool = False) -> Iterator[None]:
    """Raise :class:`Interrupted` in the block at the first SIGINT, SIGTERM or SIGHUP, and :class:`Aborted` when :func:`abort` is called.

    Later signals are ignored for :data:`GRACE_SECONDS`, while the block cleans up. Blocks may be nested. Outside the main
    thread signals are left alone, and only :func:`abort` has an effect. ``ends_the_process``: an interrupted block ends the process with
    :data:`EXIT_CODE` and the exit message, and in time even where it does not come to its end.

    Raises:
        BusyError: if another thread is in such a block.
    """
    with _state.lock:
        if _state.depth and _state.thread != threading.get_ident():
            raise BusyError("another thread of this process is running a sweep: wait for its end, or use a process of its own")
        if not _state.depth:
            _state.begin(ends_the_process=ends_the_process)
        _state.depth += 1
        outermost = _state.depth == 1
    try:
        with _handle_signals() if outermost else contextlib.nullcontext():
            try:
                yield
            except (Exception, Interrupted, Aborted) as error:
                if outermost and isinstance(_state.reason, Interrupted):
                    _end_now()
                if _state.reason is not None and error is not _state.reason:
                    raise _state.reason from error  # Ray's compiled parts turn an exception that a signal raises in them into a SystemError
                raise
    finally:
        _state.depth -= 1
        if outermost and _state.countdown is not None:
            _state.countdown.cancel()


@contextlib.contextmanager
def _handle_signals() -> Iterator[None]:
    handlers = _CompiledHandlers(*_SIGNALS, *_SET_BY_TUNE, *_SET_BY_RAY, *_SET_BY_RAY_AT_A_CRASH)
    if threading.current_thread() is not threading.main_thread():
        try:
            yield
        finally:
            handlers.put_back()
        return
    before = {each: signal.getsignal(each) for each in (*_SIGNALS, *_SET_BY_TUNE)}
    try:
        for each in _SIGNALS:
            if each is not signal.SIGHUP or before[each] is not signal.SIG_IGN:  # nohup
                signal.signal(each, _on_signal)
        with _wake_a_thread() if _state.ends_the_process else contextlib.nullcontext(), _raised_again():
            yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler if handler is not None else signal.SIG_DFL)
        handlers.put_back()


class _CompiledHandlers:
    """How the process answers signals below Python, where a library may change it and Python does not know."""

    def __init__(self, *numbers: signal.Signals) -> None:
        self._before = {number: self._now(number) for number in numbers}

    def put_back(self) -> None:
        for number, before in self._before.items():
            if self.address(self._now(number)) != self.address(before):
                if number == signal.SIGALRM:
                    _libc.alarm(0)
                _libc.sigaction(number, before, None)

    @staticmethod
    def address(handler: bytes) -> bytes:
        """Of the function, with which the structure begins on every system; after it there are bytes that are never set."""
        return handler[: ctypes.sizeof(ctypes.c_void_p)]

    @staticmethod
    def _now(number: int) -> bytes:
        handler = ctypes.create_string_buffer(_BYTES_OF_A_HANDLER)
        _libc.sigaction(number, None, handler)
        return handler.raw


@contextlib.contextmanager
def handlers_kept() -> Iterator[None]:
    """Keep SIGTERM ours through a block in which Ray's compiled part sets handlers of its own, which Python does not notice.

    Where Ray connects, it sets one that passes SIGTERM on and sets an alarm, which ends the process by SIGABRT three seconds later
    whatever was answered (abseil's ``FailureSignalHandlerOptions.alarm_on_failure_secs``); in the middle of its shutdown it sets the
    system's default, by which SIGTERM ends the process at once. There is no moment between at which a caller of Ray could undo that.
    """
    handlers = _CompiledHandlers(*_SET_BY_RAY)
    done = threading.Event()

    def keep() -> None:
        while not done.wait(_POLL_SECONDS):
            handlers.put_back()

    thread = threading.Thread(target=keep, name="sweeper-handlers", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        handlers.put_back()


def raise_if_interrupted() -> None:
    """Raise again what was raised before, and got lost in a place that swallows every exception (a finalizer, a foreign callback)."""
    if _state.reason is not None:
        raise _state.reason


def abort(error: SweeperError) -> None:
    """Raise :class:`Aborted` in the thread that runs the sweep, from any other one, if there still is such a block.

    The user is told at once: a library whose cluster is gone may end the process before that thread can say anything.
    """
    with _state.lock:
        if _state.reason is None and _state.depth:
            _state.reason = Aborted(error)
            _write(f"{error}\n{_state.exit_message}")
            reaper.on_abrupt_exit(say="")
            if _state.ends_the_process:
                _end_in_time(1)
            _raise_in_its_thread()


def _raise_in_its_thread() -> None:
    if _state.thread == threading.main_thread().ident:
        _state.due = True
        signal.pthread_kill(_state.thread, signal.SIGINT)
    else:  # it takes a class only, which the end of the block makes the reason
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(_state.thread), ctypes.py_object(Interrupted))


def clear_interruption() -> None:
    """Mark the interruption as handled: enclosing blocks do not raise it again."""
    _state.reason = None


def set_exit_message(text: str) -> None:
    """Set what the user is told when the process is interrupted from here on, even if it is killed."""
    _state.exit_message = text
    reaper.on_abrupt_exit(say=text)


def exit_message() -> str:
    """What was set to be said at the end."""
    return _state.exit_message


def interruption_message() -> str:
    """What the user is to be told of an interruption."""
    return f"interrupted; {_state.exit_message}" if _state.exit_message else "interrupted"


def _on_signal(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    now = time.monotonic()
    if _state.reason is None:
        _state.reason = Interrupted()
    elif not _state.due and now - _state.signalled_at < GRACE_SECONDS:
        return
    _state.due, _state.signalled_at = False, now
    raise _state.reason


@contextlib.contextmanager
def _wake_a_thread() -> Iterator[None]:
    """Have a thread count the seconds from the first signal on: the main thread may be inside a library for long."""
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
    timers: list[threading.Timer] = []

    def again(lost: sys.UnraisableHookArgs) -> None:
        if lost.exc_type is None or not issubclass(lost.exc_type, Interrupted | Aborted):
            before(lost)
            return
        timers.append(threading.Timer(_MOMENT, _raise_in_its_thread))
        timers[-1].start()

    sys.unraisablehook = again
    try:
        yield
    finally:
        sys.unraisablehook = before
        for timer in timers:
            timer.cancel()


def _end_now() -> None:
    """End the process if that was asked for: everything is saved, and unloading torch and Ray can take longer than a user waits."""
    if _state.ends_the_process:
        _write(interruption_message())
        reaper.stop()
        with contextlib.suppress(OSError, ValueError):  # a pipe that nobody reads
            sys.stdout.flush()
        os._exit(EXIT_CODE)


def _end_in_time(exit_code: int) -> None:
    def end() -> None:
        if not isinstance(_state.reason, Aborted):  # which was told when it was found
            _write(interruption_message())
            reaper.on_abrupt_exit(say="")
        os._exit(exit_code)

    _state.countdown = threading.Timer(GRACE_SECONDS, end)
    _state.countdown.daemon = True
    _state.countdown.start()


def _write(text: str) -> None:
    """Write a line to stderr past Python's buffers, whose lock the main thread may hold."""
    if text:
        with contextlib.suppress(OSError):
            os.write(2, f"{text}\n".encode())
