"""The configurations in which custom losses are tried before a sweep: the ends of every range, and every choice."""

from __future__ import annotations

from collections.abc import Iterator

from sweeper.custom_code import is_import_path
from sweeper.records import Value
from sweeper.space.arms import Definition, possible_values
from sweeper.space.schema import FloatRange, IntRange
from sweeper.space.space import Space


def loss_points(space: Space) -> dict[str, list[dict[str, Value]]]:
    """For each loss of the user's own the parameters of a few trials of every arm that can have it, without repeats.

    The first has the low end of every range, the second the high end; each choice occurs in one of them, though not beside every other.
    """
    points: dict[str, list[dict[str, Value]]] = {}
    for arm in space.arms:
        definitions = space.definitions(arm)
        losses = next(possible_values(definition.parameter, "loss") or () for definition in definitions if definition.name == "loss")
        for loss in filter(is_import_path, map(str, losses)):
            known = points.setdefault(loss, [])
            known += [point for point in _corners(definitions, loss) if point not in known]
    return points


def _corners(definitions: tuple[Definition, ...], loss: str) -> Iterator[dict[str, Value]]:
    values = {definition.name: _values(definition) for definition in definitions} | {"loss": (loss,)}
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
