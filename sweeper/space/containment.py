"""Whether one arm of a space can do whatever another can."""

from __future__ import annotations

from sweeper.catalogue import LOSSES
from sweeper.records import Value
from sweeper.space.arms import Arm, possible_values
from sweeper.space.schema import Constant, FloatRange, IntRange, Parameter
from sweeper.space.space import Space
from sweeper.space.values import is_among


def contained(space: Space, outer: Arm, inner: Arm) -> str | None:
    """Where the configurations of ``inner`` lie among those of ``outer``: `` (gamma 0)``, or an empty text; ``None`` if they do not.

    A loss that is cross-entropy at some value of its parameter contains cross-entropy, if that value is within its range; not where
    ``reduction: elements`` divides the two by different numbers.
    """
    wide, narrow = ({each.name: each.parameter for each in space.definitions(arm)} for arm in (outer, inner))
    where = ""
    losses = [loss.value if isinstance(loss := one.get("loss"), Constant) else None for one in (wide, narrow)]
    if space.training.loop is None and losses[0] != losses[1] and losses[1] == "cross_entropy" and space.training.reduction == "batch":
        entry = LOSSES.get(str(losses[0]))
        for name, value in entry.cross_entropy_at.items() if entry else ():
            where += f" ({name} {value:g})"
            narrow |= {"loss": wide["loss"], name: Constant(value=value)}
    same = wide.keys() == narrow.keys() and all(_includes(wide[name], parameter, name) for name, parameter in narrow.items())
    return where if same else None


def _includes(outer: Parameter, inner: Parameter, name: str) -> bool:
    if isinstance(inner, FloatRange | IntRange):
        return isinstance(outer, FloatRange | IntRange) and outer.low <= inner.low and inner.high <= outer.high
    return all(_can_be(outer, value, name) for value in possible_values(inner, name) or ())


def _can_be(parameter: Parameter, value: Value, name: str) -> bool:
    if isinstance(parameter, FloatRange | IntRange):
        return not isinstance(value, bool | str) and parameter.low <= value <= parameter.high
    return is_among(value, possible_values(parameter, name) or ())
