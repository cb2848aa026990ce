"""The configurations of an arm one by one, for the grid sampler and for counting."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from fractions import Fraction

from sweeper.records import Value
from sweeper.space.arms import Definition
from sweeper.space.schema import Algorithm, Choices, Constant, IntRange

LARGEST_GRID = 100_000


def n_points(sampler: Algorithm) -> int:
    """Values that the grid sampler takes from each continuous range, 0 where the file does not say."""
    points = sampler.options.get("points", 0)
    return points if isinstance(points, int) else 0


def iterate_grid(definitions: tuple[Definition, ...], n_points: int) -> Iterator[dict[str, Value]]:
    """Configurations one by one, conditions respected: a parameter that is not active is absent and multiplies nothing."""
    if not definitions:
        yield {}
        return
    *earlier, last = definitions
    for drawn in iterate_grid(tuple(earlier), n_points):
        if not last.is_active(drawn):
            yield drawn
            continue
        for value in _grid_values(last, n_points):
            yield {**drawn, last.name: value}


def _grid_values(definition: Definition, n_points: int) -> Iterable[Value]:
    parameter = definition.parameter
    if isinstance(parameter, Constant | Choices):
        return parameter.values
    if isinstance(parameter, IntRange):
        return range(parameter.low, parameter.high + 1, parameter.step)
    low, high = parameter.low, parameter.high
    if parameter.step is not None:
        first, step = Fraction(str(low)), Fraction(str(parameter.step))
        n_steps = int((Fraction(str(high)) - first) / step)
        return (float(first + index * step) for index in range(n_steps + 1))
    inner = (index / (n_points - 1) for index in range(1, n_points - 1))
    between = (math.exp(math.log(low) + at * math.log(high / low)) if parameter.log else low + at * (high - low) for at in inner)
    return itertools.chain([low], (min(max(value, low), high) for value in between), [high])
