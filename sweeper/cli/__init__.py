"""The command line: one module per command. Heavy imports stand inside the commands, so that ``sweep --help`` is instant.

In: click, flags, exit codes. Out of here: what a Python program might want as well.
"""

from __future__ import annotations

import click

from sweeper import __version__
from sweeper.cli.looking import list_, reproduce, show, status
from sweeper.cli.plugging import completion, dashboard, schema
from sweeper.cli.reporting import report
from sweeper.cli.running import check, resume, run


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="sweep")
def cli() -> None:
    """Which loss trains this network best, once every loss has had its own fair share of tuning?

    \b
    sweep run search_spaces/quickstart.yaml     a first sweep, on generated images
    sweep report results/                       the comparison it found
    """


for command in (check, run, resume, status, list_, show, reproduce, report, dashboard, schema, completion):
    cli.add_command(command)


def main() -> None:
    """Entry point of the console script."""
    cli(prog_name="sweep")
