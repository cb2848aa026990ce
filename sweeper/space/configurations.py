"""The configurations of an arm one by one: every point of its grid, or the few with which custom losses are tried before a sweep."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from fractions import Fraction
from typing import Literal

from sweeper.custom_code import is_import_path
from sweeper.records import Architecture, Value
from sweeper.space.arms import Definition, possible_values
from sweeper.space.schema import Algorithm, Choices, Constant, FloatRange, IntRange

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


def loss_points(definitions_by_arm: Mapping[str, tuple[Definition, ...]]) -> dict[str, list[dict[str, Value]]]:
    """For each loss of the user's own the parameters of a few trials of every arm that can have it, to try it before a sweep.

    No two are alike. The first has the low end of every range, the second the high end; each choice occurs in one of them, though not
    beside every other.
    """
    points: dict[str, list[dict[str, Value]]] = {}
    for definitions in definitions_by_arm.values():
        for loss in filter(is_import_path, _possible("loss", definitions)):
            known = points.setdefault(loss, [])
            known += [point for point in _corners(definitions, {"loss": (loss,)}) if point not in known]
    return points


def first_point(definitions: tuple[Definition, ...]) -> dict[str, Value]:
    """The parameters of one trial of an arm: the low end of every range, the first of all choices."""
    return next(_corners(definitions, {}))


def architectures(
    definitions_by_arm: Mapping[str, tuple[Definition, ...]], architecture: Callable[[Mapping[str, Value]], Architecture]
) -> list[Architecture]:
    """The models of a few trials of every arm, as ``architecture`` makes them of their parameters: each model at both ends of each range.

    No two are alike.
    """
    found: dict[Architecture, None] = {}
    for definitions in definitions_by_arm.values():
        models = _possible("model", definitions)
        for fixed in [{"model": (model,)} for model in models] if models else [{}]:
            found |= dict.fromkeys(architecture(point) for point in _corners(definitions, fixed))
    return list(found)


def _possible(owner: Literal["loss", "model"], definitions: tuple[Definition, ...]) -> list[str]:
    """The losses, or models, that trials with these definitions name."""
    return [str(value) for each in definitions if each.name == owner for value in possible_values(each.parameter, owner) or ()]


def _corners(definitions: tuple[Definition, ...], fixed: Mapping[str, tuple[Value, ...]]) -> Iterator[dict[str, Value]]:
    values = {definition.name: _values(definition) for definition in definitions} | dict(fixed)
    seen: list[dict[str, Value]] = []
    for index in range(max(2, *map(len, values.values()))):
        point: dict[str, Value] = {}
        for definition in definitions:
            if definition.is_active(point):
                known = values[definition.name]
                point[definition.name] = known[index % len(known)]
        if point not in seen:
            seen.append(point)
            yield point


def _values(definition: Definition) -> tuple[Value, ...]:
    parameter = definition.parameter
    if not isinstance(parameter, FloatRange | IntRange):
        return parameter.values
    return (parameter.low, parameter.high)
