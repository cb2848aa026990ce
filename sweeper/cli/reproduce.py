"""The command ``reproduce``."""

from __future__ import annotations

import click

from sweeper.cli.options import custom_code_option, json_option, sweep_and_trial_arguments
from sweeper.cli.output import say, tell_record


@click.command()
@sweep_and_trial_arguments("TRIAL")
@json_option
@custom_code_option
@click.option("--keep-weights", is_flag=True, help="If the curve is the same, keep the network's weights in the sweep's folder.")
@click.pass_context
def reproduce(
    context: click.Context,
    sweep: str | None,
    trial: str | None,
    results: str,
    json: bool,
    custom_code: bool | None,
    keep_weights: bool,
) -> None:
    """Train one trial again and compare its curve with the stored one.

    TRIAL alone is a trial of the newest sweep.

    On the CPU the curves must be equal to the last bit; on a GPU, whose sums have no fixed order, within a tolerance that is printed.
    The exit code is 1 if they are not. Nothing is written without --keep-weights, after which `sweep export` finds the weights.

    \b
    sweep reproduce focal-12
    sweep reproduce focal-20260101-120000 focal-12
    sweep reproduce focal-20260101-120000 focal-confirm-0 --keep-weights
    """
    if sweep is None:
        raise click.UsageError("Missing argument 'TRIAL': which trial to train again; sweep show names the best ones.", context)
    from sweeper.view.find import find_sweep_and_trial

    folder, trial = find_sweep_and_trial(sweep, trial, results)
    if trial is None:
        raise click.UsageError(f"Missing argument 'TRIAL': which trial of {folder}; sweep show {folder} names the best ones.", context)
    from sweeper.reproduce import reproduce_trial, reproduction_text
    from sweeper.view.lines import SpacedLines

    found = reproduce_trial(folder, trial, notice=SpacedLines(say), custom_code=custom_code, keep_weights=keep_weights)
    tell_record(found, reproduction_text, json=json)
    raise SystemExit(0 if found.same else 1)
