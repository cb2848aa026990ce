"""How a problem is worded: the value as the file has it, the nearest valid name, pydantic's findings in plain words."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pydantic_core import ErrorDetails, PydanticCustomError

from .elsewhere import Kind, core, is_sentence, letters, meant_by

Path = tuple[str | int, ...]
"""Where a value stands in a space file: keys and list positions from the top."""

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
        return f"'{_cut(printable(value))}'"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    try:
        return _cut(str(value))
    except ValueError:  # Python writes no integer of more than 4,300 digits
        return "an integer of thousands of digits"


def plural(number: int, noun: str) -> str:
    """``1 seed``, ``8 seeds``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def limit(bound: float) -> str:
    """A limit without an exponent where it is a whole number."""
    return f"{bound:.0f}" if float(bound).is_integer() and abs(bound) < 2**53 else f"{bound:g}"


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"


def listed(names: Iterable[object]) -> str:
    """``'a', 'b' and 'c'``, values shown as in :func:`shown`."""
    *head, last = map(shown, names)
    return f"{', '.join(head)} and {last}" if head else last


def nearest(name: object, known: Iterable[object], kind: Kind | None = None) -> str:
    """``did you mean 'x'?`` for a slip of the pen or another tool's word for a ``kind`` of names, else ``known: a, b, c``.

    For what another tool has and this one not, a sentence says what there is instead.
    """
    names = [str(entry) for entry in known]
    if not names:
        return "there are none"
    elsewhere = meant_by(str(name)[:200], kind) if kind is not None else None
    if elsewhere is not None and is_sentence(elsewhere):
        return elsewhere
    meant = elsewhere if elsewhere in names else _meant(str(name)[:200].lower(), names)
    return f"did you mean '{printable(meant)}'?" if meant is not None else f"known: {', '.join(map(printable, names))}"


def _meant(written: str, names: Sequence[str]) -> str | None:
    """The name that looks like what was written, begins like it, is spelled ``nn.LikeThisLoss`` elsewhere, or has these initials."""
    folded = {name.lower(): name for name in names}
    if close := difflib.get_close_matches(written, folded, n=1):
        return folded[close[0]]
    if len(written) >= 3:
        for entry, name in folded.items():
            if entry.startswith(written) or written.startswith(entry):
                return name
    by_letters = {letters(name): name for name in names}
    if close := difflib.get_close_matches(core(written), by_letters, n=1, cutoff=0.8):
        return by_letters[close[0]]
    return next((name for name in names if len(written) >= 2 and written == "".join(word[:1] for word in name.lower().split("_"))), None)


def dotted(path: Path) -> str:
    """``parameters.loss.choices[1].gamma``."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{_cut(printable(part))}" for part in path)
    return text.removeprefix(".")


def rule(message: str) -> PydanticCustomError:
    """An error for pydantic validators to raise whose text reaches the user as it is."""
    return PydanticCustomError("rule", "{message}", {"message": message})


COMPARISONS = {
    "greater_than": (">", "gt"),
    "greater_than_equal": (">=", "ge"),
    "less_than": ("<", "lt"),
    "less_than_equal": ("<=", "le"),
}
EXPECTED = {
    "int": "an integer",
    "float": "a number",
    "bool": "true or false",
    "string": "text",
    "dict": "a mapping of keys to values",
    "model": "a mapping of keys to values",
    "list": "a list",
    "tuple": "a list",
    "finite": "a finite number",
}


def unquoted(text: str) -> str:
    """The way out for a text where a number or a truth value is needed, where it looks like one: the end of a message."""
    if text.lower() in ("yes", "on", "y", "no", "off", "n"):
        return f"; write {'true' if text.lower() in ('yes', 'on', 'y') else 'false'}"
    if text in ("true", "false") or re.fullmatch(r"[-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?", text):
        return f"; write {text} without quotes"
    return f"; write {text.replace(',', '.')}" if re.fullmatch(r"[-+]?[0-9]+,[0-9]+", text) else ""


def reworded(error: ErrorDetails, unknown: Callable[[object], str]) -> str:
    """The message for one of pydantic's findings; ``unknown``: what to say of a key that its mapping does not have."""
    kind, value = error["type"], error["input"]
    context: Mapping[str, Any] = error.get("ctx", {})
    if kind == "rule":
        return str(context["message"])
    if kind == "extra_forbidden":
        return f"unknown key; {unknown(error['loc'][-1])}"
    if kind == "missing":
        return "is missing"
    if kind in COMPARISONS:
        sign, bound = COMPARISONS[kind]
        return f"must be {sign} {limit(context[bound])}, got {shown(value)}"
    if kind == "literal_error":
        meant = _meant(str(value)[:200].lower(), re.findall(r"'(.*?)'", context["expected"]))
        return f"must be {context['expected']}, got {shown(value)}" + (f"; did you mean '{meant}'?" if meant is not None else "")
    if kind in ("string_too_short", "too_short"):
        return "must not be empty"
    if isinstance(value, str) and kind in ("int_type", "float_type", "bool_type"):
        return f"must be {EXPECTED[kind.partition('_')[0]]}, got {shown(value)}{unquoted(value)}"
    if kind == "int_from_float" or kind.startswith("int_parsing"):
        return f"must be an integer, got {shown(value)}"
    expected = EXPECTED.get(kind.partition("_")[0])
    return f"must be {expected}, got {shown(value)}" if expected else f"{error['msg']}, got {shown(value)}"
