"""The command ``export``."""

from __future__ import annotations

import click

from sweeper.cli.completion import complete_arm, complete_trial
from sweeper.cli.options import json_option, not_empty, sweep_argument
from sweeper.cli.output import say, tell_record


@click.command()
@sweep_argument()
@click.option("--arm", default=None, metavar="NAME", shell_complete=complete_arm, help="The arm; needed where there are several.")
@click.option("--trial", default=None, metavar="NAME", shell_complete=complete_trial, help="This trial of it, and not the best.")
@click.option("--to", default=None, metavar="DIR", callback=not_empty, help="Folder to be made; default: SWEEP-ARM, here.")
@json_option
def export(sweep: str | None, results: str, arm: str | None, trial: str | None, to: str | None, json: bool) -> None:
    """Write the best configuration of an arm, its weights, and Python that loads them.

    The configuration is the pick of the arm's searches with the best validation metric, as a space file that trains it alone. The weights,
    if the sweep was run with `training.keep: weights`, are those of its confirm trial with the best validation metric; nothing is chosen
    by the test split. `load.py` needs torch and safetensors only, and the model where that is your own; it has `logits(images)` and
    `classify(images)`. A network that a training loop of your own has built comes without it. The exit code is 1 if there are no
    weights to write.

    \b
    sweep export --arm cross_entropy
    sweep export focal-20260101-120000 --arm cross_entropy --to model
    sweep export focal-20260101-120000 --trial cross_entropy-s2-confirm-1
    """
    from sweeper.export import export as write
    from sweeper.export import export_text
    from sweeper.view.find import find_sweep

    found = write(find_sweep(sweep, results), arm, trial, to)
    tell_record(found, export_text, json=json)
    if found.no_weights is not None:
        say(found.no_weights)
        raise SystemExit(1)
