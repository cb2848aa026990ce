"""The command ``show``."""

from __future__ import annotations

import click

from sweeper.cli.options import json_option, sweep_and_trial_arguments
from sweeper.cli.output import tell_record, terminal_width


@click.command()
@sweep_and_trial_arguments("[TRIAL]")
@json_option
def show(sweep: str | None, trial: str | None, results: str, json: bool) -> None:
    """Show the best trial of each search, or everything about one trial.

    TRIAL alone is a trial of the newest sweep.

    \b
    sweep show
    sweep show focal-12
    sweep show focal-20260101-120000
    sweep show results/focal-20260101-120000 focal-12 --json
    """
    from sweeper.view.find import find_sweep_and_trial
    from sweeper.view.sweeps import view_sweep
    from sweeper.view.text import sweep_text, trial_text
    from sweeper.view.trial import view_trial

    folder, trial = find_sweep_and_trial(sweep, trial, results)
    if trial is None:
        tell_record(view_sweep(folder), lambda view: sweep_text(view, terminal_width()), json=json)
    else:
        tell_record(view_trial(folder, trial), trial_text, json=json)
