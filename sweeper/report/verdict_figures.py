"""What the picture of the verdict shows, and that picture as lines of text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size

from sweeper.report import numbers
from sweeper.report.measure import Measure, find_measure
from sweeper.report.summary import Estimate, Summary

NO_FIGURE = "no figure"
FAR = 6
"""An arm is off the scale where it would make that this many times as long: else nothing could be seen of the arms close to the best."""
STEP = 0.001
"""The ends of a scale are multiples of it, so that they stand there as they are: one decimal in per cent, else three."""
NARROWEST_NAME = 8
NARROWEST_STRIP = 12


@dataclass(frozen=True, slots=True)
class ArmFigures:
    """One arm: its figure by the number of each search, or by seed, their mean, and its difference to the best arm."""

    arm: str
    values: Mapping[int, float]
    mean: Estimate | None
    difference: Estimate | None


@dataclass(frozen=True, slots=True)
class VerdictFigures:
    """The arms from best to worst, those without a figure last. ``unit``: search or seed. ``margin``: in the measure's own unit."""

    measure: Measure
    unit: str
    arms: tuple[ArmFigures, ...]
    margin: float | None = None

    @property
    def best(self) -> str:
        return self.arms[0].arm

    def near(self) -> list[ArmFigures]:
        """The arms that one scale can show, from the best on: always the first two, then as long as none stretches it :data:`FAR` times."""
        near: list[ArmFigures] = []
        for arm in self.arms:
            if not arm.values:
                continue
            before, after = _length(near), _length([*near, arm])
            if len(near) < 2 or not before or after <= FAR * before:
                near.append(arm)
        return near

    def far(self) -> list[str]:
        """The names of the arms that have a figure and are off the scale."""
        near = self.near()
        return [arm.arm for arm in self.arms if arm.values and arm not in near]

    def scale(self) -> tuple[float, float]:
        """The least and the largest figure that is shown on the scale, intervals too."""
        return _ends(self.near())

    def far_text(self, arm: ArmFigures) -> str:
        """The figure of an arm that is off the scale, with an arrow to the side on which it lies: ``← 10.5 [9.8, 11.1]``."""
        if arm.mean is None:
            return NO_FIGURE
        figure = numbers.figure_with_interval(arm.mean, self.measure)
        return f"← {figure}" if arm.mean.mean < self.scale()[0] else f"{figure} →"


def _ends(arms: Sequence[ArmFigures]) -> tuple[float, float]:
    shown = [value for arm in arms for value in arm.values.values()]
    bounds = [bound for arm in arms if arm.mean for bound in (arm.mean.mean, arm.mean.low, arm.mean.high) if bound is not None]
    return min([*shown, *bounds]), max([*shown, *bounds])


def _length(arms: Sequence[ArmFigures]) -> float:
    low, high = _ends(arms) if arms else (0.0, 0.0)
    return high - low


def draw_in_text(figures: VerdictFigures, width: int) -> str:
    """A line per arm in at most ``width`` columns, all on one scale whose ends stand beside it, and what the signs mean.

    ``focal  54.4 ··[··●●·◆●··]·●·· 57.5``: ● a search or a seed, ◆ their mean, [ ] its 95 % interval. Where signs fall together, the mean
    is shown before the interval, that before the dots.
    """
    near = figures.near()
    low, high = _whole_steps(*figures.scale())
    left, right = numbers.figure(low, figures.measure), numbers.figure(high, figures.measure)
    longest = max(cell_len(arm.arm) for arm in figures.arms)
    name_width = min(longest, max(NARROWEST_NAME, width - len(left) - len(right) - 4 - max(NARROWEST_STRIP, 2 * width // 5)))
    room = max(NARROWEST_STRIP, width - name_width - len(left) - len(right) - 4)
    lines = []
    for arm in figures.arms:
        if arm in near:
            text = f"{left} {_strip(arm, low, high, room)} {right}"
        else:
            text = figures.far_text(arm)
            text = text.rjust(width - name_width - 2) if text.endswith("→") else text
        lines.append(f"{_name(arm.arm, name_width)}  {text}")
    means = [arm.mean for arm in near if arm.mean and arm.mean.n > 1]
    signs = [f"● one {figures.unit}", *["◆ mean"] * bool(means), *["[ ] its 95 % interval"] * any(mean.low is not None for mean in means)]
    return "\n".join([*lines, ", ".join(signs)])


def _whole_steps(low: float, high: float) -> tuple[float, float]:
    first, last = math.floor(low / STEP + 1e-6), math.ceil(high / STEP - 1e-6)
    return first * STEP, max(last, first + 1) * STEP


def _strip(arm: ArmFigures, low: float, high: float, room: int) -> str:
    cells = ["·"] * room
    mean = arm.mean
    for sign, values in (
        ("●", arm.values.values()),
        ("[", (mean.low,) if mean else ()),
        ("]", (mean.high,) if mean else ()),
        ("◆", (mean.mean,) if mean and mean.n > 1 else ()),
    ):
        for value in values:
            if value is not None:
                share = min(max((value - low) / (high - low), 0.0), 1.0)  # the ends are multiples of a step but for rounding
                cells[round(share * (room - 1))] = sign
    return "".join(cells)


def _name(name: str, width: int) -> str:
    """The name in exactly ``width`` columns, cut where it is longer."""
    return set_cell_size(name, width) if cell_len(name) <= width else set_cell_size(name, width - 1) + "…"


def verdict_figures(summary: Summary) -> VerdictFigures | None:
    """The figures that the verdict rests on; ``None`` without a comparison, and where the arms cannot be compared by its measure."""
    comparison = summary.comparison
    if comparison is None or (not comparison.comparable and len(comparison.arms) > 1):
        return None
    column, searches = comparison.measure, {arm.arm: arm.searches for arm in summary.arms}
    arms = []
    for arm in comparison.arms:
        if comparison.unit == "search":
            values = {search.number: search.means[column] for search in searches[arm.arm] if column in search.means}
        else:
            values = {
                seed: value
                for search in searches[arm.arm]
                for seed, value in zip(search.seeds, search.values[column], strict=True)
                if value is not None
            }
        arms.append(ArmFigures(arm.arm, values, arm.measures.get(column), arm.contrast.difference if arm.contrast else None))
    silent = [ArmFigures(arm, {}, None, None) for arm in searches if arm not in {each.arm for each in arms}]
    return VerdictFigures(find_measure(column), comparison.unit, (*arms, *silent), comparison.margin)
