"""What commands print: results on stdout; progress, warnings and errors on stderr."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import click

from sweeper.errors import StoreError, SweeperError

T = TypeVar("T")


class Refusal(click.ClickException):
    """A :class:`SweeperError` as click shows it: its message alone, unless the user has seen that already."""

    def __init__(self, error: SweeperError) -> None:
        super().__init__(str(error))
        self.exit_code = error.exit_code  # type: ignore[misc]  # click declares it on the class and reads it from the instance
        self.told = getattr(error, "told", False)

    def show(self, file: Any = None) -> None:
        if not self.told:
            click.echo(self.format_message(), file=file or sys.stderr)


def tell(text: str) -> None:
    """Write a result to stdout: signs in ASCII, and letters escaped, where its encoding has not all of them.

    Raises:
        StoreError: if it cannot be written, unless the reader has gone.
    """
    try:
        click.echo(_encodable(text))
    except BrokenPipeError:
        raise
    except OSError as error:
        with suppress(OSError):  # what could not be written would be tried again, with a traceback, when Python ends
            sys.stdout.close()
        raise StoreError(f"stdout: cannot write there: {error.strerror}") from error


def _encodable(text: str) -> str:
    from sweeper.text import in_ascii

    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return in_ascii(text).encode(encoding, "backslashreplace").decode(encoding)
    return text


def tell_record(record: T, text: Callable[[T], str], *, json: bool) -> None:
    """Write a record to stdout: as JSON, or as ``text(record)``."""
    if json:
        from sweeper.text import as_json

        tell(as_json(record))
    else:
        tell(text(record))


def say(line: str) -> None:
    """Write a line to stderr, where a pipe does not take it for the result."""
    click.echo(line, err=True)


def terminal_width() -> int:
    """Columns of the terminal; 1000 for a pipe, whose reader gets whole lines."""
    return shutil.get_terminal_size().columns if sys.stdout is not None and sys.stdout.isatty() else 1000
