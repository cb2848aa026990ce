"""The command ``schema``."""

from __future__ import annotations

import click

from sweeper.cli.output import tell


@click.command()
def schema() -> None:
    """Print the JSON Schema of space files, with which editors complete them.

    \b
    sweep schema > schema.json
    """
    import json

    from sweeper.space.json_schema import json_schema

    tell(json.dumps(json_schema(), indent=2))
