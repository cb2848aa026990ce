"""The reference of the command line: the help of every command as a terminal of 100 columns shows it."""

from __future__ import annotations

import click

from sweeper.cli import cli

INTRODUCTION = """\
# Command line

`sweep` and `python -m sweeper` are the same program. Results go to stdout, news and errors to stderr.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | the sweep ended with failed trials, a trial was not reproduced, or there were no weights to export |
| 2 | usage, or invalid input |
| 130 | interrupted; everything is saved and the command that goes on is printed |

Colours are off where stdout is no terminal and where `NO_COLOR` is set.

This page is made from the help texts by `python docs/generate.py`.
"""
WIDTH = 100


def page() -> str:
    """The whole page."""
    pieces = [INTRODUCTION, _help("sweep", cli, None)]
    with click.Context(cli, info_name="sweep") as context:
        pieces += [f"## {name}\n\n{_help(name, cli.commands[name], context)}" for name in cli.list_commands(context)]
    return "\n".join(pieces)


def _help(name: str, command: click.Command, parent: click.Context | None) -> str:
    with click.Context(
        command, info_name=name, parent=parent, max_content_width=WIDTH, terminal_width=WIDTH, help_option_names=["-h", "--help"]
    ) as context:
        text = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
    return f"```text\n{text}\n```\n"
