"""Commands that look at sweeps and trials: ``list``, ``status``, ``show``, ``reproduce``."""

from __future__ import annotations

import shutil
import sys

import click

from sweeper.cli.names import complete_sweep_or_trial, complete_trial
from sweeper.cli.options import as_json, custom_code, explained, not_empty, results_option, say, sweep_argument, tell


@click.command(name="list")
@click.argument("folder", required=False, metavar="[RESULTS]", type=click.Path(), callback=not_empty)
@results_option
@as_json
def list_(folder: str | None, results: str, json: bool) -> None:
    """List the sweeps below a folder, oldest first.

    RESULTS is short for --results RESULTS.

    \b
    sweep list
    sweep list results/ --json
    """
    with explained():
        from sweeper.view.as_json import as_json
        from sweeper.view.sweeps import list_sweeps
        from sweeper.view.text import list_text

        sweeps = list_sweeps(folder or results)
        tell(as_json(sweeps) if json else list_text(sweeps, _width()))


@click.command()
@sweep_argument()
@as_json
def status(sweep: str | None, results: str, json: bool) -> None:
    """Say how far a sweep is, also one that another process is running.

    \b
    sweep status
    sweep status focal-20260101-120000
    watch sweep status results/focal-20260101-120000
    """
    with explained():
        from sweeper.view.as_json import as_json
        from sweeper.view.find import find_sweep
        from sweeper.view.status import sweep_status
        from sweeper.view.text import status_text

        found = sweep_status(find_sweep(sweep, results))
        tell(as_json(found) if json else status_text(found))


@click.command()
@sweep_argument(complete=complete_sweep_or_trial)
@click.argument("trial", shell_complete=complete_trial, required=False, metavar="[TRIAL]")
@as_json
def show(sweep: str | None, trial: str | None, results: str, json: bool) -> None:
    """Show the best trial of each arm, or everything about one trial.

    TRIAL alone is a trial of the newest sweep.

    \b
    sweep show
    sweep show focal-12
    sweep show focal-20260101-120000
    sweep show results/focal-20260101-120000 focal-12 --json
    """
    with explained():
        from sweeper.view.as_json import as_json
        from sweeper.view.find import find_sweep, find_sweep_or_trial
        from sweeper.view.sweeps import view_sweep
        from sweeper.view.text import sweep_text, trial_text
        from sweeper.view.trial import view_trial

        folder, trial = find_sweep_or_trial(sweep, results) if trial is None else (find_sweep(sweep, results), trial)
        if trial is None:
            view = view_sweep(folder)
            tell(as_json(view) if json else sweep_text(view, _width()))
        else:
            found = view_trial(folder, trial)
            tell(as_json(found) if json else trial_text(found))


@click.command()
@sweep_argument(complete=complete_sweep_or_trial)
@click.argument("trial", shell_complete=complete_trial, required=False, metavar="TRIAL")
@as_json
@custom_code
@click.pass_context
def reproduce(context: click.Context, sweep: str | None, trial: str | None, results: str, json: bool, custom_code: bool | None) -> None:
    """Train one trial again, and say whether it learns what it learnt.

    TRIAL alone is a trial of the newest sweep.

    On the CPU the curve must be equal to the last bit; on a GPU, whose sums have no fixed order, within a tolerance that is printed.
    The exit code is 1 when it is not. Nothing is written.

    \b
    sweep reproduce focal-12
    sweep reproduce focal-20260101-120000 focal-12
    """
    if sweep is None:
        raise click.UsageError("Missing argument 'TRIAL': which trial to train again; sweep show names the best ones.", context)
    with explained():
        from sweeper.view.as_json import as_json
        from sweeper.view.find import find_sweep, find_sweep_or_trial

        folder, trial = find_sweep_or_trial(sweep, results) if trial is None else (find_sweep(sweep, results), trial)
        if trial is None:
            raise click.UsageError(f"Missing argument 'TRIAL': which trial of {folder}; sweep show {folder} names the best ones.", context)
        from sweeper.reproduce import reproduce_trial, reproduction_text
        from sweeper.view.lines import SpacedLines

        found = reproduce_trial(folder, trial, notice=SpacedLines(say), custom_code=custom_code)
        tell(as_json(found) if json else reproduction_text(found))
        raise SystemExit(0 if found.same else 1)


def _width() -> int:
    """Columns of the terminal; a program that reads from a pipe gets whole lines."""
    return shutil.get_terminal_size().columns if sys.stdout is not None and sys.stdout.isatty() else 1000
