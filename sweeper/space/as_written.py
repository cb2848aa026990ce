"""What a stored space says of the parts that other code knows, taken as it stands.

The losses of the user's own and Optuna were asked when the sweep began: a report asks neither, so it can be read where they are not there
any more, or know other options by now, and without the time that they take to import.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sweeper.space.loss_signatures import Argument, LossSignature
from sweeper.space.parameters import TRAINING_DOMAINS, Finding, validated
from sweeper.space.schema import Algorithm
from sweeper.space.wording import Path


def signature_as_written(parameters: Mapping[str, Any]) -> LossSignature:
    """The signature of a loss that is not looked at: every parameter of the file that is not one of the training may be its own."""
    choices = [choice for each in parameters.values() if isinstance(each, dict) for choice in listed_values(each.get("choices"))]
    names = {*parameters, *(name for choice in choices if isinstance(choice, dict) for name in choice)}
    own = names - {"loss", "name", *TRAINING_DOMAINS}
    return LossSignature({str(name): Argument("any") for name in own}, takes_any=True)


def algorithm_as_written(raw: object, path: Path) -> tuple[Algorithm | None, list[Finding]]:
    """The sampler or pruner in ``raw``, and what keeps it from being one at all."""
    return validated(Algorithm, _in_parts(raw), path)


def _in_parts(raw: object) -> object:
    """``{name, option: value, ..., wrapped}`` with the options under a key of their own."""
    if not isinstance(raw, dict):
        return {"name": raw}
    parts = {key: raw[key] for key in ("name", "wrapped") if key in raw}
    if "wrapped" in parts:
        parts["wrapped"] = _in_parts(parts["wrapped"])
    return {**parts, "options": {key: value for key, value in raw.items() if key not in parts}}


def listed_values(value: object) -> list[Any]:
    """``value`` where it is a list, else nothing."""
    return value if isinstance(value, list) else []
