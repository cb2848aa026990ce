"""What an unknown key probably means: a similar key of its section, a key of another section, or another tool's word for one."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping

from sweeper.catalogue import LOSSES, SHORTHANDS, TRAINING_PARAMETERS
from sweeper.space.elsewhere import is_sentence, meant_by, words
from sweeper.space.schema import Compare, Dataset, Resources, Search, Section, Training
from sweeper.text import letters, nearest, printable

_SECTIONS: Mapping[str, type[Section]] = {
    "dataset": Dataset,
    "compare": Compare,
    "search": Search,
    "resources": Resources,
    "training": Training,
}
_PLACES: Mapping[str, str] = {
    **{letters(key): f"{section}.{key}" for section, model in _SECTIONS.items() for key in model.model_fields if key != "metrics"},
    **{letters(key): f"parameters.{key}" for entry in LOSSES.values() for key in entry.parameters},
    **{letters(key): key for key in ("name", "seed", "parameters", *_SECTIONS)},
    "learningrate": "parameters.learning_rate",
    "loss": "parameters.loss",
}
"""The dotted key for every key of a space file, by its letters; ``name`` and ``seed`` are those at the top level. Who writes ``metrics``
elsewhere than under ``training`` means the one of the search.
"""


def place_of(word: str) -> str | None:
    """The dotted key, or the sentence, for a key of this or another tool; ``None`` where nothing is near."""
    if exact := _PLACES.get(letters(word)) or meant_by(word, "key"):
        return exact
    names = [*_PLACES, *(each for each in words("key") if not is_sentence(meant_by(each, "key") or ""))]
    close = difflib.get_close_matches(letters(word)[:200], names, n=1, cutoff=0.85)
    return (_PLACES.get(close[0]) or meant_by(close[0], "key")) if close else None


def unknown_key(word: object, section: str, known: Collection[str]) -> str:
    """What to say of a key that ``section`` (``""``: the top level) does not have, where ``known`` are those that it has."""
    near = nearest(word, known)
    is_near = near.startswith("did you mean")
    if place := _PLACES.get(letters(str(word))):
        there = _named(place, section)
        inside = sorted((letters(str(word)), letters(near.removeprefix("did you mean"))), key=len)
        is_part = is_near and inside[0] in inside[1]
        return near.replace("?", f", or {there}?") if is_part and there not in near else f"did you mean {there}?"
    meant = meant_by(str(word), "key") or (None if is_near else place_of(str(word)))
    if meant is None or meant == section or (is_near and section == "parameters" and is_sentence(meant)):
        return near  # a loss may have any parameters
    return meant if is_sentence(meant) else f"did you mean {_named(meant, section)}?"


def meant_by_flag(flag: str, value: str | None, flags: Collection[str]) -> str | None:
    """What to say of a ``--flag`` that a command does not have, where ``flags`` are those that it has; ``None`` if nothing is known of it.

    ``value``: what was given with it.
    """
    word = flag.lstrip("-")
    meant = meant_by(word, "flag") if len(flag) > 2 else None
    if meant is not None and meant.startswith("--"):
        return f"use {meant}{f' {printable(value)}' if value and not is_sentence(meant) else ''}" if meant.split()[0] in flags else None
    if meant is not None:
        return meant
    close = difflib.get_close_matches(flag, flags, n=1, cutoff=0.8)
    place = None if close and letters(word) not in _PLACES and meant_by(word, "key") is None else place_of(word)
    if place is None or is_sentence(place):
        return place
    shorthand = next((f"--{name.replace('_', '-')}" for name, key in SHORTHANDS.items() if key == place), None)
    given = printable(value) if value else "VALUE"
    if shorthand in flags:
        return f"use {shorthand} {given}"
    if place in _SECTIONS or place == "parameters":
        return f"use --set {place}.KEY=VALUE"
    return f"use --set {place}={given}"


def _named(place: str, section: str) -> str:
    """A dotted key as it is called from ``section``."""
    home, _, key = place.rpartition(".")
    if home == section or (key in TRAINING_PARAMETERS and section in ("training", "parameters")):
        return f"'{key}'"
    return place if home else f"{place} at the top level"
