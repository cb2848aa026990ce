"""The command ``check``, and the checks that ``run`` shares with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click

from sweeper.cli.options import SpaceCommand, no_custom_code_option, overrides, space_options
from sweeper.cli.output import say, tell
from sweeper.view.waiting import announcing

if TYPE_CHECKING:
    from sweeper.space import Space


@click.command(cls=SpaceCommand)
@space_options
@no_custom_code_option
def check(space: str, settings: Sequence[str], results: str, address: str | None, log_to: Sequence[str], no_custom_code: bool) -> None:
    """Check whether a space file can be run, and list everything that is wrong with it.

    Checks the folders, devices, loggers and models that `run` would need, and lists what only `run` can find out. Creates nothing.

    \b
    sweep check search_spaces/focal.yaml
    sweep check search_spaces/focal.yaml --epochs 4 --set search.pruner.name=median
    sweep check search_spaces/focal.yaml --gpus-per-trial 0.5 --results /data/results --log-to mlflow
    """
    from sweeper.text import plural

    checked, not_checked = check_space(
        space, settings, results=results, address=address, log_to=log_to, no_custom_code=no_custom_code, warn=say
    )
    each = [checked.planned_trials(arm) for arm in checked.arms]
    arms = ", ".join(arm.name for arm in checked.arms)
    epochs, seeds = plural(checked.training.epochs, "epoch"), plural(checked.compare.seeds, "confirm seed")
    if checked.compare.searches > 1:
        trials = plural(each[0], "trial") if len(set(each)) == 1 else f"{min(each)} to {max(each)} trials"
        planned = f"{plural(checked.compare.searches, 'search')} of {trials} each, {epochs} a trial, {seeds}"
    else:
        planned = f"{plural(sum(each), 'search trial')} of {epochs}, {seeds} each"
    tell(f"{space}: ok: {plural(len(checked.arms), 'arm')} ({arms}), {planned}")
    for unknown in not_checked:
        say(f"not checked: {unknown}")


def check_space(
    file: str,
    settings: Sequence[str],
    *,
    results: str,
    address: str | None,
    log_to: Sequence[str],
    no_custom_code: bool,
    warn: Callable[[str], None] | None,
    announce: Callable[[str], None] | None = None,
) -> tuple[Space, Sequence[str]]:
    """The space in ``file`` with the overrides of the command line, and what only a run can find out, in words.

    ``warn`` is given the warnings about the space, and what it will keep, ``announce`` what takes long; ``None`` drops them.

    Raises:
        SweeperError: for a space that cannot be run here.
    """
    with announcing("reading the space file", announce):
        from sweeper.preflight import kept_weights, preflight
        from sweeper.space import check_warnings, load_space

        space = load_space(file, overrides(settings), allow_custom_code=not no_custom_code)
    if warn is not None:
        for warning in check_warnings(space):
            warn(f"warning: {warning}")
    with announcing("looking at what it needs", announce):
        not_checked = preflight(space, results=results, address=address, log_to=log_to)
        kept = kept_weights(space) if warn is not None else None
    if warn is not None and kept is not None:
        warn(kept)
    return space, not_checked
