"""The command ``status``."""

from __future__ import annotations

import click

from sweeper.cli.options import json_option, sweep_argument
from sweeper.cli.output import tell_record


@click.command()
@sweep_argument()
@json_option
def status(sweep: str | None, results: str, json: bool) -> None:
    """Show how far a sweep is, even one that another process is running.

    \b
    sweep status
    sweep status focal-20260101-120000
    watch sweep status results/focal-20260101-120000
    """
    from sweeper.view.find import find_sweep
    from sweeper.view.status import sweep_status
    from sweeper.view.text import status_text

    tell_record(sweep_status(find_sweep(sweep, results)), status_text, json=json)
