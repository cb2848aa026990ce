"""Shows the progress of a sweep: a panel in a terminal, lines elsewhere, nothing with ``--quiet``."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.live import Live
from rich.text import Text

from sweeper.driver.events import (
    EpochTrained,
    Event,
    Notice,
    Observer,
    Preparing,
    SweepStarted,
    TrialEnded,
    TrialReturned,
    ignore,
)
from sweeper.records import TrialOutcome, TrialState
from sweeper.studies.expected_epochs import expected_epochs
from sweeper.text import plural, printable
from sweeper.view.counts import Counts
from sweeper.view.devices import DeviceUse
from sweeper.view.lines import closing_line, pause_after, progress_line
from sweeper.view.panel import SweepPanel
from sweeper.view.snapshot import Snapshot
from sweeper.view.waiting import Waiting
from sweeper.view.wording import outcome_text, searches_text

REFRESHES_PER_SECOND = 4


class PatientConsole(Console):
    """A console that lets a sweep continue when its reader has gone."""

    def on_broken_pipe(self) -> None:
        """Raise what was raised: rich would end the program."""
        raise  # noqa: PLE0704  # rich calls this while it handles the error


class Watcher:
    """An observer that counts, and tells at once what a person should know: notices, the first failure, with ``verbose`` every end."""

    def __init__(self, console: Console, verbose: bool) -> None:
        self._console = console
        self._verbose = verbose
        self._failures = 0
        self._metric = ""
        self._counts: Counts | None = None
        self._waiting = Waiting(self._print)

    def __call__(self, event: Event) -> None:
        if self._counts:
            self._counts(event)
        match event:
            case Preparing(what):
                self._waiting.begin(what)
            case Notice(line):
                self._print(line)
            case SweepStarted():
                self._start(event)
            case TrialReturned(config, str(error)) if self._verbose or self._failures == 0:
                self._print(f"{printable(config.trial_id)} failed and is tried again: {printable(error)}")
                self._failures += 1
            case TrialEnded(outcome) if self._counts:
                self._tell_end(outcome, self._counts.free[outcome.config.arm])

    def close(self) -> None:
        """The sweep has ended, or was given up."""
        self._waiting.close()

    def snapshot(self) -> Snapshot | None:
        """How far the sweep is; ``None`` before it has started."""
        return self._counts.snapshot() if self._counts else None

    def _start(self, event: SweepStarted) -> None:
        """Begin to count, from what an earlier process left."""
        folder, space = event.folder, event.space
        counts = Counts(folder.id, space, event.planned)
        counts.found(folder.read_trials().frame)
        lengths = expected_epochs(space)
        counts.expect(sum(lengths) / len(lengths))
        self._counts = counts
        self._metric = space.search.metric
        arms = ", ".join(printable(arm.name) for arm in space.arms)
        told = [
            f"sweep {folder.id}: {plural(len(space.arms), 'arm')} ({arms})",
            searches_text(counts.snapshot()),
            f"{plural(event.n_packs, 'pack')} side by side",
            f"rows in {folder}",
        ]
        self._print(", ".join(filter(None, told)))

    def _tell_end(self, outcome: TrialOutcome, free: Sequence[str]) -> None:
        """``free``: names of the parameters in which trials of its arm differ."""
        if outcome.state is TrialState.FAILED and not self._verbose and self._failures == 0:
            self._print(f"{printable(outcome.config.trial_id)} failed: {printable(outcome.error or 'for an unknown reason')}")
        if outcome.state is TrialState.FAILED:
            self._failures += 1
        if self._verbose:
            self._print(outcome_text(outcome, self._metric, free))

    def _print(self, line: str) -> None:
        self._console.print(Text(line), soft_wrap=True)
        self._waiting.reset()


class Lines(Watcher):
    """A line when the last one is old enough and something has happened."""

    def __init__(self, console: Console, verbose: bool) -> None:
        super().__init__(console, verbose)
        self._told = time.monotonic()

    def __call__(self, event: Event) -> None:
        super().__call__(event)
        match event:
            case SweepStarted():
                self._told = time.monotonic()
                self._waiting.begin("starting the workers, and training the first epoch")
            case EpochTrained():
                self._waiting.close()
                self._tell_when_due()
            case TrialEnded():
                self._tell_when_due()

    def close(self) -> None:
        """The last line."""
        super().close()
        if snapshot := self.snapshot():
            self._print(closing_line(snapshot))

    def _tell_when_due(self) -> None:
        snapshot = self.snapshot()
        if snapshot and time.monotonic() - self._told >= pause_after(snapshot.seconds):
            self._print(progress_line(snapshot))
            self._told = time.monotonic()


class LivePanel(Watcher):
    """One panel that is drawn again in its place four times a second, by a thread of its own; lines appear above it."""

    def __init__(self, console: Console, verbose: bool) -> None:
        super().__init__(console, verbose)
        self._devices = DeviceUse()
        self._live = Live(get_renderable=self._draw, console=console, refresh_per_second=REFRESHES_PER_SECOND)

    def __call__(self, event: Event) -> None:
        super().__call__(event)
        if isinstance(event, SweepStarted):
            self._waiting.close()
            self._live.start()
            # rich hides the cursor; a process that is killed could not show it again
            self._console.show_cursor(True)

    def close(self) -> None:
        """Draw the panel for the last time, and leave it on the screen."""
        super().close()
        self._live.stop()

    def _draw(self) -> SweepPanel | Text:
        snapshot = self.snapshot()
        return SweepPanel(snapshot, self._devices.text()) if snapshot else Text("")


@contextlib.contextmanager
def watching(*, quiet: bool = False, verbose: bool = False, console: Console | None = None) -> Iterator[Observer]:
    """An observer that shows a sweep during the block, and restores the terminal however the block ends."""
    if quiet:
        yield ignore
        return
    console = console or PatientConsole(stderr=True, highlight=False, force_jupyter=False)
    # not rich's is_terminal alone: FORCE_COLOR, which notebooks and CI set, makes no terminal of a log
    person = console.is_terminal and not console.is_dumb_terminal and console.file.isatty()
    watcher = LivePanel(console, verbose) if person else Lines(console, verbose)
    try:
        yield watcher
    finally:
        with contextlib.suppress(OSError):  # the terminal or pipe is gone
            watcher.close()
