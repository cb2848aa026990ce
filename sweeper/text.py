"""Values and names as messages and tables show them: escaped, shortened, counted, listed, as JSON; the nearest name to a mistyped one."""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

SHOWN_CHARACTERS = 60


def printable(text: str) -> str:
    """``text`` with everything a terminal could act on (control characters, line breaks, bidi marks) escaped."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode() for char in text)


def shown(value: object) -> str:
    """``value`` as a message shows it: text in quotes and cut to 60 characters, the rest as YAML writes it."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"'{cut(printable(value))}'"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    try:
        return cut(str(value))
    except ValueError:  # Python writes no integer of more than 4,300 digits
        return "an integer of thousands of digits"


_IN_ASCII = str.maketrans("●◆·←→…─–×▁▂▃▄▅▆▇█", "o+.<>~--x_.-:=+*#") | {ord("±"): "+-"}


def in_ascii(text: str) -> str:
    """``text`` with every sign that the tables and drawings of sweeper have in ASCII; names and other words stay as they are."""
    return text.translate(_IN_ASCII)


def cut(text: str) -> str:
    """``text`` in at most :data:`SHOWN_CHARACTERS`."""
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"


def plural(number: int, noun: str) -> str:
    """``1 seed``, ``8 seeds``, ``5 searches``."""
    return f"{number:,} {noun}{'' if number == 1 else 'es' if noun.endswith('search') else 's'}"


def limit(bound: float) -> str:
    """A limit without an exponent where it is a whole number."""
    return f"{bound:.0f}" if float(bound).is_integer() and abs(bound) < 2**53 else f"{bound:g}"


def listed(names: Iterable[object]) -> str:
    """``'a', 'b' and 'c'``, values shown as in :func:`shown`."""
    *head, last = map(shown, names)
    return f"{', '.join(head)} and {last}" if head else last


def nearest(name: object, known: Iterable[object]) -> str:
    """``did you mean 'x'?`` for a slip of the pen, else ``known: a, b, c``."""
    names = [str(entry) for entry in known]
    if not names:
        return "there are none"
    meant = nearest_name(name, names)
    return f"did you mean '{printable(meant)}'?" if meant is not None else f"known: {', '.join(map(printable, names))}"


def nearest_name(name: object, names: Sequence[str]) -> str | None:
    """The name that looks like what was written, begins like it, is spelled ``nn.LikeThisLoss`` elsewhere, or has these initials."""
    written = str(name)[:200].lower()
    folded = {name.lower(): name for name in names}
    if close := difflib.get_close_matches(written, folded, n=1):
        return folded[close[0]]
    if len(written) >= 3:
        for entry, known in folded.items():
            if entry.startswith(written) or written.startswith(entry):
                return known
    by_letters = {letters(name): name for name in names}
    if close := difflib.get_close_matches(core(written), by_letters, n=1, cutoff=0.8):
        return by_letters[close[0]]
    return next((name for name in names if len(written) >= 2 and written == "".join(word[:1] for word in name.lower().split("_"))), None)


def letters(name: str) -> str:
    """``name`` without case and without what is no letter or digit: ``num-epochs``, ``numEpochs`` and ``num_epochs`` are one word."""
    return re.sub("[^a-z0-9]", "", name.lower())


_ENDINGS = re.compile("(?<=..)(loss|sampler|search|pruner|scheduler|metric)$")


def core(word: str) -> str:
    """The letters of a name without its module and without what kind of thing it is: ``tpe`` of ``optuna.samplers.TPESampler``."""
    return _ENDINGS.sub("", letters(word.rpartition(".")[2]))


def first_line(error: BaseException) -> str:
    """The reason of a system or library error, on one line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def as_json(value: Any) -> str:
    """A dataclass, or a tuple of them, as indented JSON, field by field; ``null`` for what is not a number."""
    return json.dumps(_plain(value), indent=2, allow_nan=False)


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, bool | int | float | str) or value is None:
        return str(value) if isinstance(value, str) else value
    return value.item() if hasattr(value, "item") else str(value)
