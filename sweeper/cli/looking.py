"""Commands that look at sweeps and trials: ``list``, ``status``, ``show``, ``reproduce``."""

from __future__ import annotations

import shutil
import sys

import click

from sweeper.cli.names import complete_sweep, complete_trial
from sweeper.cli.options import as_json, explained, no_custom_code, results_option, say


@click.command(name="list")
@click.argument("results", default="results", type=click.Path())
@as_json
def list_(results: str, json: bool) -> None:
    """List the sweeps below a folder, oldest first.

    \b
    sweep list
    sweep list results/ --json
    """
    with explained():
        from sweeper.look import as_json, list_sweeps, list_text

        sweeps = list_sweeps(results)
        click.echo(as_json(sweeps) if json else list_text(sweeps, _width()))


@click.command()
@click.argument("sweep", shell_complete=complete_sweep, required=False, metavar="[ID]")
@results_option
@as_json
def status(sweep: str | None, results: str, json: bool) -> None:
    """Say how far a sweep is, also one that another process is running.

    ID is a sweep's id, the beginning of it, or its folder; without it, the newest sweep.

    \b
    sweep status
    sweep status focal-20260101-120000
    watch sweep status results/focal-20260101-120000
    """
    with explained():
        from sweeper.look import as_json, find_sweep, status_text, sweep_status

        found = sweep_status(find_sweep(sweep, results))
        click.echo(as_json(found) if json else status_text(found))


@click.command()
@click.argument("sweep", shell_complete=complete_sweep, metavar="ID")
@click.argument("trial", shell_complete=complete_trial, required=False, metavar="[TRIAL]")
@results_option
@as_json
def show(sweep: str, trial: str | None, results: str, json: bool) -> None:
    """Show the best trial of each arm, or everything about one trial.

    \b
    sweep show focal-20260101-120000
    sweep show focal-20260101-120000 focal-12
    sweep show results/focal-20260101-120000 focal-12 --json
    """
    with explained():
        from sweeper.look import as_json, find_sweep, sweep_text, trial_text, view_sweep, view_trial

        folder = find_sweep(sweep, results)
        if trial is None:
            view = view_sweep(folder)
            click.echo(as_json(view) if json else sweep_text(view, _width()))
        else:
            found = view_trial(folder, trial)
            click.echo(as_json(found) if json else trial_text(found))


@click.command()
@click.argument("sweep", shell_complete=complete_sweep, metavar="ID")
@click.argument("trial", shell_complete=complete_trial, metavar="TRIAL")
@results_option
@as_json
@no_custom_code
def reproduce(sweep: str, trial: str, results: str, json: bool, no_custom_code: bool) -> None:
    """Train one trial again, and say whether it learns what it learnt.

    On the CPU the curve must be equal to the last bit; on a GPU, whose sums have no fixed order, within a tolerance that is printed.
    The exit code is 1 when it is not. Nothing is written.

    \b
    sweep reproduce focal-20260101-120000 focal-12
    """
    with explained():
        from sweeper.look import as_json, find_sweep
        from sweeper.progress import SpacedLines
        from sweeper.reproduce import reproduce_trial, reproduction_text

        found = reproduce_trial(find_sweep(sweep, results), trial, notice=SpacedLines(say), allow_custom_code=not no_custom_code)
        click.echo(as_json(found) if json else reproduction_text(found))
        raise SystemExit(0 if found.same else 1)


def _width() -> int:
    """Columns of the terminal; a program that reads from a pipe gets whole lines."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 1000
