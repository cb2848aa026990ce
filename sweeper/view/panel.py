"""Draws a snapshot as a panel in a terminal of at least 40 × 12 characters."""

from __future__ import annotations

from collections.abc import Callable

from rich.box import ASCII, ROUNDED
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from sweeper.records import Phase
from sweeper.text import plural, printable
from sweeper.trial_counts import Part
from sweeper.view.snapshot import Snapshot
from sweeper.view.wording import best_text, duration, eta_text, pace_text, saved_text, searches_text

LINES_AROUND_ARMS = 10
"""Lines of the panel that are not arms: border, stage, bar, heading, best, pace, pruner, failure, border, and the cursor's."""

WIDEST = 110
NARROWEST_ARM = 8
_LEFT_OUT_FIRST = ("diverged", "pruned", "running", "confirm", "failed")
"""Columns that a narrow terminal goes without, so that the names of the arms can be read."""


class SweepPanel:
    """Draws one snapshot; ``devices``: how busy they are, in words."""

    def __init__(self, snapshot: Snapshot, devices: str = "") -> None:
        self._snapshot = snapshot
        self._devices = devices

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        height = options.height or console.size.height
        room = max(1, height - LINES_AROUND_ARMS)
        width = min(options.max_width, WIDEST)
        bar = self._bar(width - 4, ascii_only=options.ascii_only)
        rows: list[RenderableType] = [self._stage_line(), bar, self._arms(room, width - 4), *self._notes()]
        yield Panel(
            Group(*rows),
            title=Text(printable(self._snapshot.sweep), style="bold"),
            title_align="left",
            box=ASCII if options.ascii_only else ROUNDED,
            border_style="blue",
            width=width,
            padding=(0, 1),
        )
        # a line for the cursor: at the end of a border as wide as the terminal, the ^C that Ctrl-C echoes would move it down
        yield Text("")

    def _stage_line(self) -> Text:
        snapshot = self._snapshot
        told = [snapshot.stage, duration(snapshot.seconds), eta_text(snapshot), searches_text(snapshot)]
        return _one_line(", ".join(filter(None, told)))

    def _bar(self, width: int, *, ascii_only: bool) -> Text:
        """How many trials have ended; the two parts differ in their characters too, for terminals without colours."""
        planned, ended = self._snapshot.total("planned"), self._snapshot.total("ended")
        told = f" {ended} of {plural(planned, 'trial')}"
        room = max(0, width - len(told))
        n_done = min(room, room * ended // max(1, planned))
        done, left = ("#", "-") if ascii_only else ("━", "─")
        style = "bar.finished" if ended >= planned else "bar.complete"
        return _one_line(Text.assemble((done * n_done, style), (left * (room - n_done), "bar.back"), told))

    def _arms(self, room: int, width: int) -> Table:
        confirms = {part.arm: part for part in self._snapshot.phase_parts(Phase.CONFIRM)}
        searches = list(self._snapshot.phase_parts(Phase.SEARCH))
        shown = searches if len(searches) <= room else sorted(searches, key=_liveliest(confirms))[: max(0, room - 1)]
        leader = self._snapshot.best
        names, rows = [], []
        for search in (part for part in searches if part in shown):
            confirm = confirms[search.arm]
            is_leader = leader is not None and search.best is not None and search.best.trial == leader.trial
            names.append(Text(printable(search.arm), style="bold" if is_leader else ""))
            rows.append(
                {
                    "search": Text(f"{search.ended}/{search.planned}"),
                    "running": _count(search.running + confirm.running),
                    "pruned": _count(search.pruned),
                    "diverged": _count(search.diverged + confirm.diverged, "yellow"),
                    "failed": _count(search.failed + confirm.failed, "bold red"),
                    "confirm": Text(f"{confirm.ended}/{confirm.planned}" if confirm.planned else "-"),
                    "best": Text(f"{search.best.value:.4f}" if search.best else "-", style="bold green" if is_leader else ""),
                }
            )
        widths = {heading: max(len(heading), *(len(row[heading]) for row in rows)) + 1 for heading in rows[0]} if rows else {}
        for heading in _LEFT_OUT_FIRST:
            if widths and sum(widths.values()) + NARROWEST_ARM + 1 > width:
                del widths[heading]
        table = Table(box=None, expand=True, padding=(0, 1, 0, 0), show_edge=False, header_style="dim")
        table.add_column("arm", no_wrap=True, overflow="ellipsis", ratio=1)
        for heading in widths:
            table.add_column(heading, justify="right", no_wrap=True, overflow="crop")
        for name, row in zip(names, rows, strict=True):
            table.add_row(name, *(row[heading] for heading in widths))
        if len(searches) > len(shown):
            table.add_row(Text(plural(len(searches) - len(shown), "more arm"), style="dim"), *[""] * len(widths))
        return table

    def _notes(self) -> list[Text]:
        snapshot = self._snapshot
        none = "no trial is complete yet" if snapshot.comparable else f"{snapshot.metric} cannot be compared between losses"
        best = best_text(snapshot.best, snapshot.metric) if snapshot.best else none
        running = snapshot.total("running")
        pace = ", ".join(filter(None, [pace_text(snapshot), f"{plural(running, 'trial')} in training", self._devices]))
        notes = [_labelled("best", best), _labelled("pace", pace)]
        if saved := saved_text(snapshot):
            notes.append(_labelled("pruner", saved))
        if snapshot.first_failure:
            notes.append(_labelled("failed", printable(snapshot.first_failure), "bold red"))
        return notes


def _labelled(label: str, text: str, style: str = "") -> Text:
    return _one_line(Text.assemble((f"{label:<8}", "dim"), (text, style)))


def _one_line(text: str | Text) -> Text:
    line = Text(text) if isinstance(text, str) else text
    line.no_wrap, line.overflow = True, "ellipsis"
    return line


def _count(number: int, style: str = "") -> Text:
    return Text(str(number), style=style if number else "dim")


def _liveliest(confirms: dict[str, Part]) -> Callable[[Part], tuple[float, ...]]:
    """Arms that are in training first, then those with failures, then the others."""
    return lambda part: (-(part.running + confirms[part.arm].running), -part.failed, part.ended / max(1, part.planned))
