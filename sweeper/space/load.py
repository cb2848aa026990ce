"""A space file to a :class:`Space`: text, overrides, sections, rules; every mistake is reported at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path as FilePath

from sweeper.errors import Problem, SpaceError
from sweeper.space.check import find_problems
from sweeper.space.draft import CustomCode, Draft
from sweeper.space.overrides import apply_overrides, leave_out_unreachable
from sweeper.space.space import Remarks, Space
from sweeper.space.yaml_lines import MAX_BYTES, read_yaml
from sweeper.text import printable, shown


def load_space(path: str | FilePath, overrides: Sequence[str] = (), *, allow_custom_code: bool = True) -> Space:
    """The space in the file ``path``, with single fields replaced by ``key=value`` overrides.

    A loss or model by import path is imported, which runs the user's code, unless ``allow_custom_code`` is false: then it is refused.

    Raises:
        SpaceError: the file cannot be read, or breaks rules; the message lists all of them with their lines.
    """
    source = str(path)
    try:
        with FilePath(path).open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        message = f"is not UTF-8 text: byte 0x{content[error.start]:02x} at position {error.start}; save the file as UTF-8"
        raise _refusal(source, [Problem(line, "", message)]) from None
    except FileNotFoundError:
        raise _refusal(source, [Problem(None, "", "no such file")]) from None
    except IsADirectoryError:
        raise _refusal(source, [Problem(None, "", "is a folder; give a space file in it")]) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise _refusal(source, [Problem(None, "", f"cannot be read: {reason}")]) from None
    return parse_space(text, source, overrides, allow_custom_code=allow_custom_code)


def parse_space(text: str, source: str, overrides: Sequence[str] = (), *, allow_custom_code: bool = True) -> Space:
    """As :func:`load_space`, from text; ``source`` names it in messages.

    Raises:
        SpaceError: the text breaks rules; the message lists all of them with their lines.
    """
    return _parse(text, source, overrides, "run" if allow_custom_code else "refuse")


def parse_stored_space(text: str, source: str) -> Space:
    """The space of a sweep that has begun, from what :func:`dump_space` wrote. Code of the user's own is neither run nor looked for.

    Its losses have the parameters that the text gives them; their silent defaults are not known. Its sampler and pruner have the options
    that the text gives them; Optuna is not asked.

    Raises:
        SpaceError: as :func:`parse_space`.
    """
    return _parse(text, source, (), "unseen")


def _parse(text: str, source: str, overrides: Sequence[str], custom_code: CustomCode) -> Space:
    document = read_yaml(text)
    if not document.problems and not isinstance(document.data, dict):
        got = "it is empty; it needs name, dataset and parameters" if document.data is None else f"got {shown(document.data)}"
        document.problems.append(document.problem((), f"a space file is a mapping of keys to values, {got}"))
    if not isinstance(document.data, dict):
        raise _refusal(source, document.problems)
    apply_overrides(document, overrides)
    left_out = leave_out_unreachable(document)
    draft = Draft(document, custom_code)
    draft.report(find_problems(draft))
    if document.problems:
        raise _refusal(source, document.problems)
    return draft.space(Remarks(left_out, printable(source), draft.places))


def _refusal(source: str, problems: Iterable[Problem]) -> SpaceError:
    """The error for all problems; whatever of the file or of other libraries is quoted in them, a terminal only prints it."""
    return SpaceError(printable(source), [Problem(one.line, printable(one.key), printable(one.message)) for one in problems])
