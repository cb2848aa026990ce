"""A snapshot as a panel of a terminal, for any width and height from 40 × 12 on."""

from __future__ import annotations

from collections.abc import Callable

from rich.box import ASCII, ROUNDED
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sweeper.progress.snapshot import Part, Snapshot
from sweeper.progress.wording import best_text, duration, eta_text, pace_text, saved_text
from sweeper.records import Phase
from sweeper.space.wording import printable

LINES_AROUND_ARMS = 10
"""Lines of the panel that are not arms: border, stage, bar, heading, best, pace, pruner, failure, border, and the cursor's."""

WIDEST = 110


class SweepPanel:
    """Draws one snapshot; ``devices``: how busy they are, in words."""

    def __init__(self, snapshot: Snapshot, devices: str = "") -> None:
        self._snapshot = snapshot
        self._devices = devices

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        height = options.height or console.size.height
        room = max(1, height - LINES_AROUND_ARMS)
        rows: list[RenderableType] = [self._stage_line(), self._bar(), self._arms(room), *self._notes()]
        yield Panel(
            Group(*rows),
            title=Text(printable(self._snapshot.sweep), style="bold"),
            title_align="left",
            box=ASCII if options.ascii_only else ROUNDED,
            border_style="blue",
            width=min(options.max_width, WIDEST),
            padding=(0, 1),
        )

    def _stage_line(self) -> Text:
        told = [self._snapshot.stage, duration(self._snapshot.seconds), eta_text(self._snapshot)]
        return _one_line(", ".join(filter(None, told)))

    def _bar(self) -> RenderableType:
        planned = self._snapshot.total("planned")
        ended = self._snapshot.total("ended")
        line = Table.grid(expand=True, padding=(0, 1, 0, 0))
        line.add_column(ratio=1)
        line.add_column(no_wrap=True)
        line.add_row(ProgressBar(total=max(planned, 1), completed=ended), f"{ended} of {planned} trials")
        return line

    def _arms(self, room: int) -> Table:
        table = Table(box=None, expand=True, padding=(0, 1, 0, 0), show_edge=False, header_style="dim")
        table.add_column("arm", no_wrap=True, overflow="ellipsis", ratio=1, min_width=8)
        for heading in ("search", "running", "pruned", "diverged", "failed", "confirm", "best"):
            table.add_column(heading, justify="right", no_wrap=True, overflow="crop")
        confirms = {part.arm: part for part in self._snapshot.phase_parts(Phase.CONFIRM)}
        searches = list(self._snapshot.phase_parts(Phase.SEARCH))
        shown = searches if len(searches) <= room else sorted(searches, key=_liveliest(confirms))[: max(0, room - 1)]
        leader = self._snapshot.best
        for search in (part for part in searches if part in shown):
            confirm = confirms[search.arm]
            is_leader = leader is not None and search.best is not None and search.best.trial == leader.trial
            table.add_row(
                Text(printable(search.arm), style="bold" if is_leader else ""),
                f"{search.ended}/{search.planned}",
                _count(search.running + confirm.running),
                _count(search.pruned),
                _count(search.diverged + confirm.diverged, "yellow"),
                _count(search.failed + confirm.failed, "bold red"),
                f"{confirm.ended}/{confirm.planned}" if confirm.planned else "-",
                Text(f"{search.best.value:.4f}" if search.best else "-", style="bold green" if is_leader else ""),
            )
        if len(searches) > len(shown):
            table.add_row(Text(f"{len(searches) - len(shown)} more arms", style="dim"), *[""] * 7)
        return table

    def _notes(self) -> list[Text]:
        snapshot = self._snapshot
        best = best_text(snapshot.best, snapshot.metric) if snapshot.best else "no trial is complete yet"
        running = snapshot.total("running")
        pace = ", ".join(filter(None, [pace_text(snapshot), f"{running} trial{'' if running == 1 else 's'} in training", self._devices]))
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
