"""The command ``list``."""

from __future__ import annotations

import click

from sweeper.cli.options import json_option, not_empty, results_option
from sweeper.cli.output import tell_record, terminal_width


@click.command(name="list")
@click.argument("folder", required=False, metavar="[RESULTS]", type=click.Path(), callback=not_empty)
@results_option
@json_option
def list_(folder: str | None, results: str, json: bool) -> None:
    """List the sweeps below a folder, oldest first.

    RESULTS is short for --results RESULTS.

    \b
    sweep list
    sweep list results/ --json
    """
    from sweeper.view.sweeps import list_sweeps
    from sweeper.view.text import list_text

    tell_record(list_sweeps(folder or results), lambda sweeps: list_text(sweeps, terminal_width()), json=json)
