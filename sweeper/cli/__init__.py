"""The command line: one module per command. Heavy imports are inside the commands, so that ``sweep --help`` is instant.

In: click, flags, exit codes. Out of here: what a Python program might want as well.
"""

from __future__ import annotations

from typing import Any

import click

from sweeper import __version__
from sweeper.cli.check import check
from sweeper.cli.completion import completion
from sweeper.cli.dashboard import dashboard
from sweeper.cli.export import export
from sweeper.cli.list import list_
from sweeper.cli.output import Refusal
from sweeper.cli.report import report
from sweeper.cli.reproduce import reproduce
from sweeper.cli.resume import resume
from sweeper.cli.run import run
from sweeper.cli.schema import schema
from sweeper.cli.show import show
from sweeper.cli.status import status
from sweeper.errors import SweeperError


class _Commands(click.Group):
    """Commands whose :class:`SweeperError` ends the program with its message and exit code, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except SweeperError as error:
            raise Refusal(error) from None


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="sweep")
def cli() -> None:
    """Which loss trains this network best, once every loss has had its own fair share of tuning?

    \b
    sweep run search_spaces/quickstart.yaml     a first sweep, on generated images
    sweep report results/                       the comparison it found
    """


for command in (check, run, resume, status, list_, show, reproduce, report, export, dashboard, schema, completion):
    cli.add_command(command)


def main() -> None:
    """Entry point of the console script."""
    cli(prog_name="sweep")
