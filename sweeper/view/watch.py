"""Who watches a sweep: a panel where a person sits at a terminal, timed lines elsewhere, nobody with ``--quiet``."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from rich.console import Console
from rich.live import Live
from rich.text import Text

from sweeper.records import EpochMetrics, Planned, TrialConfig, TrialOutcome, TrialState
from sweeper.space import Space
from sweeper.store import SweepFolder, current_rows
from sweeper.studies.expected_epochs import expected_epochs
from sweeper.text import plural, printable
from sweeper.view.counts import Counts
from sweeper.view.devices import DeviceUse
from sweeper.view.lines import closing_line, pause_after, progress_line
from sweeper.view.panel import SweepPanel
from sweeper.view.snapshot import Snapshot
from sweeper.view.waiting import Waiting
from sweeper.view.wording import outcome_text

REFRESHES_PER_SECOND = 4


class PatientConsole(Console):
    """A console that lets a sweep go on when nobody reads any more."""

    def on_broken_pipe(self) -> None:
        """Raise what was raised: rich would end the program."""
        raise  # noqa: PLE0704  # rich calls this while it handles the error


class Watcher:
    """Counts what happens and tells nobody; the base of those who do. An ``Observer`` of the coordinator."""

    def __init__(self) -> None:
        self._counts: Counts | None = None

    def notice(self, line: str) -> None:
        """Something of interest: a warning, or what is waited for."""

    def doing(self, what: str) -> None:
        """What is going on before the sweep has started."""

    def started(self, folder: SweepFolder, space: Space, n_packs: int, planned: Planned) -> None:  # noqa: ARG002
        """Begin to count, from what an earlier process left."""
        counts = Counts(folder.id, space, planned)
        counts.found(current_rows(folder).trials)
        lengths = expected_epochs(space)
        counts.expect(sum(lengths) / len(lengths))
        self._counts = counts

    def joined(self, config: TrialConfig) -> None:
        """A trial has been given to a device."""
        if self._counts:
            self._counts.joined(config)

    def returned(self, config: TrialConfig, error: str | None) -> None:  # noqa: ARG002
        """A trial has lost its device, or failed with ``error``, and will be trained again."""
        if self._counts:
            self._counts.returned(config)

    def epoch(self, config: TrialConfig, metrics: EpochMetrics) -> None:
        """A trial has trained an epoch."""
        if self._counts:
            self._counts.epoch(config, metrics)

    def outcome(self, outcome: TrialOutcome) -> None:
        """A trial has ended."""
        if self._counts:
            self._counts.outcome(outcome)

    def ended(self) -> None:
        """Every trial has ended."""

    def snapshot(self) -> Snapshot | None:
        """How far the sweep is; ``None`` before it has started."""
        if self._counts is None:
            return None
        snapshot = self._counts.snapshot("")
        return self._counts.snapshot(str(snapshot.phase))


class _Telling(Watcher):
    """What panel and lines have in common: failures at once, and with ``verbose`` every end."""

    def __init__(self, console: Console, verbose: bool) -> None:
        super().__init__()
        self._console = console
        self._verbose = verbose
        self._failures = 0
        self._metric = ""
        self._waiting = Waiting(self._print)

    def notice(self, line: str) -> None:
        self._print(line)

    def doing(self, what: str) -> None:
        self._waiting.doing(what)

    def close(self) -> None:
        """The sweep has ended, or was given up."""
        self._waiting.close()

    def started(self, folder: SweepFolder, space: Space, n_packs: int, planned: Planned) -> None:
        super().started(folder, space, n_packs, planned)
        self._metric = space.search.metric
        arms = ", ".join(printable(arm.name) for arm in space.arms)
        packs = f"{plural(n_packs, 'pack')} side by side"
        self._print(f"sweep {folder.id}: {plural(len(space.arms), 'arm')} ({arms}), {packs}, rows in {folder}")

    def returned(self, config: TrialConfig, error: str | None) -> None:
        super().returned(config, error)
        if error is not None and (self._verbose or self._failures == 0):
            self._print(f"{printable(config.trial_id)} failed and is tried again: {printable(error)}")
            self._failures += 1

    def outcome(self, outcome: TrialOutcome) -> None:
        super().outcome(outcome)
        if outcome.state is TrialState.FAILED and not self._verbose and self._failures == 0:
            self._print(f"{printable(outcome.config.trial_id)} failed: {printable(outcome.error or 'for an unknown reason')}")
        if outcome.state is TrialState.FAILED:
            self._failures += 1
        if self._verbose:
            self._print(outcome_text(outcome, self._metric, self._counts.free[outcome.config.arm] if self._counts else ()))

    def _print(self, line: str) -> None:
        self._console.print(Text(line), soft_wrap=True)
        self._waiting.said()


class Lines(_Telling):
    """A line when the last one is old enough and something has happened."""

    def __init__(self, console: Console, verbose: bool) -> None:
        super().__init__(console, verbose)
        self._told = time.monotonic()

    def started(self, folder: SweepFolder, space: Space, n_packs: int, planned: Planned) -> None:
        super().started(folder, space, n_packs, planned)
        self._told = time.monotonic()
        self.doing("starting the workers, and training the first epoch")

    def epoch(self, config: TrialConfig, metrics: EpochMetrics) -> None:
        super().epoch(config, metrics)
        self._waiting.close()
        self._tell_when_due()

    def outcome(self, outcome: TrialOutcome) -> None:
        super().outcome(outcome)
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


class LivePanel(_Telling):
    """One panel that is drawn again in its place four times a second, by a thread of its own; lines appear above it."""

    def __init__(self, console: Console, verbose: bool) -> None:
        super().__init__(console, verbose)
        self._devices = DeviceUse()
        self._live = Live(get_renderable=self._draw, console=console, refresh_per_second=REFRESHES_PER_SECOND)

    def started(self, folder: SweepFolder, space: Space, n_packs: int, planned: Planned) -> None:
        super().started(folder, space, n_packs, planned)
        self._waiting.close()
        self._live.start()
        # rich hides the cursor; a process that is killed could not show it again
        self._console.show_cursor(True)

    def close(self) -> None:
        """Draw the panel for the last time, and leave it where it stands."""
        super().close()
        self._live.stop()

    def _draw(self) -> SweepPanel | Text:
        snapshot = self.snapshot()
        return SweepPanel(snapshot, self._devices.text()) if snapshot else Text("")


@contextlib.contextmanager
def watching(*, quiet: bool = False, verbose: bool = False, console: Console | None = None) -> Iterator[Watcher]:
    """Somebody who watches a sweep for the length of the block, and leaves the terminal as it was however the block ends."""
    console = console or PatientConsole(stderr=True, highlight=False, force_jupyter=False)
    if quiet:
        yield Watcher()
        return
    # not rich's is_terminal alone: FORCE_COLOR, which notebooks and CI set, makes no terminal of a log
    person = console.is_terminal and not console.is_dumb_terminal and console.file.isatty()
    watcher: LivePanel | Lines = LivePanel(console, verbose) if person else Lines(console, verbose)
    try:
        yield watcher
    finally:
        with contextlib.suppress(OSError):  # the terminal or pipe is gone
            watcher.close()
