"""What the pages tell a reader to type: files to write and commands to run, in order."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from sweeper.cli import cli

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
FENCE = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`(sweep [^`\n]+)`")
SCREEN = re.compile(r"<!-- generated: session .*?<!-- end of generated text -->", re.DOTALL)


@dataclass(frozen=True)
class WrittenFile:
    """A block with a title: a file that the reader writes."""

    name: str
    text: str


@dataclass(frozen=True)
class Command:
    """A line after ``$`` in a console block, and the output below it; a line ``...`` stands for any lines."""

    line: str
    output: str

    def fits(self, printed: str) -> bool:
        pieces = [re.escape(piece) for piece in re.split(r"^\.\.\.\n", self.output, flags=re.MULTILINE)]
        return re.fullmatch("(?s:.*)".join(pieces), printed) is not None


def session(page: Path) -> Iterator[WrittenFile | Command]:
    """The files and commands of a page, in its order."""
    for language, title, body in FENCE.findall(page.read_text()):
        if title:
            yield WrittenFile(title, body)
        elif language == "console":
            for part in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
                line, _, output = part.partition("\n")
                yield Command(line, output)


def sweep_commands(text: str) -> list[str]:
    """Every ``sweep …`` in a text, in blocks and in line, but for recorded screens, whose terminal breaks long lines."""
    text = SCREEN.sub("", text)
    lines = [line for language, _, body in FENCE.findall(text) if language in ("bash", "console", "text") for line in body.splitlines()]
    typed = [re.sub(r"^\s*\$ ", "", line) for line in lines]
    found = [match[1] for line in typed for match in re.finditer(r"(?:^|&& |-- |\s{2}|bin/|watch )(sweep [a-z].*?)(?= && |'|   |$)", line)]
    return [command.strip() for command in (*found, *INLINE.findall(FENCE.sub("", text)))]


def misread(command: str) -> str | None:
    """Why the command line would not understand ``command``, which may hold placeholders in capitals; ``None`` if it would."""
    words = shlex.split(re.sub(r"[;|>].*", "", command.replace("…", "")), comments=True)[1:]
    if not words or words[0].isupper() or words[0].startswith("-") or words[-1] == "--help":
        return None
    if words[0] not in cli.commands:
        return f"no command {words[0]}"
    arguments = ["1" if re.fullmatch(r"[NKX]", word) else word for word in words[1:]]
    try:
        cli.commands[words[0]].make_context(words[0], arguments, parent=click.Context(cli, info_name="sweep", **cli.context_settings))
    except click.MissingParameter:
        return None  # named in a sentence, without its arguments
    except click.ClickException as error:
        return error.format_message()
    return None
