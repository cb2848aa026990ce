"""Commands that run a space: ``check``, ``run``, ``resume``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import click

from sweeper.cli.options import explained, overrides_of, say, space_flags

INTERRUPTED = 130


@click.command()
@click.argument("space", type=click.Path())
@space_flags
@click.pass_context
def check(context: click.Context, space: str, settings: Sequence[str]) -> None:
    """Say whether a space file can be run, and everything that is wrong with it.

    \b
    sweep check search_spaces/focal.yaml
    sweep check search_spaces/focal.yaml --epochs 4 --set search.pruner.name=median
    """
    with explained():
        from sweeper.space import check_warnings, load_space

        checked = load_space(space, overrides_of(context, settings))
        for warning in check_warnings(checked):
            click.echo(f"warning: {warning}", err=True)
        n_trials = sum(checked.planned_trials(arm) for arm in checked.arms)
        arms = ", ".join(arm.name for arm in checked.arms)
        click.echo(
            f"{space}: ok: {len(checked.arms)} arms ({arms}), {n_trials} search trials of {checked.training.epochs} epochs, "
            f"{checked.compare.seeds} confirm seeds each"
        )


@click.command()
@click.argument("space", type=click.Path())
@space_flags
@click.option("--results", default="results", show_default=True, metavar="PATH", help="Folder that holds the sweeps.")
@click.option("--address", default=None, metavar="ADDR", help="A running Ray cluster to join; default: Ray on this machine.")
@click.pass_context
def run(context: click.Context, space: str, settings: Sequence[str], results: str, address: str | None) -> None:
    """Tune every arm of a space, prune, confirm, and print the comparison.

    \b
    sweep run search_spaces/quickstart.yaml
    sweep run search_spaces/focal.yaml --dataset parquet --data-dir data/cifar10
    sweep run search_spaces/focal.yaml --trials-per-arm 6 --epochs 4 --seeds 0
    """
    with explained():
        from sweeper.space import check_warnings, load_space

        checked = load_space(space, overrides_of(context, settings))
        for warning in check_warnings(checked):
            click.echo(f"warning: {warning}", err=True)
        from sweeper.progress import LineProgress, SpacedLines
        from sweeper.provenance import command_line
        from sweeper.sweep import start_sweep

        _finish(
            lambda: start_sweep(
                checked,
                results=results,
                address=address,
                command=command_line(),
                observer=LineProgress(say),
                data_notice=SpacedLines(say),
            )
        )


@click.command()
@click.argument("sweep")
@click.option("--address", default=None, metavar="ADDR", help="A running Ray cluster to join; default: Ray on this machine.")
def resume(sweep: str, address: str | None) -> None:
    """Go on with an interrupted sweep.

    \b
    sweep resume results/focal-20260101-120000
    """
    with explained():
        from sweeper.progress import LineProgress, SpacedLines
        from sweeper.store import find_sweeps
        from sweeper.sweep import resume_sweep

        folder = find_sweeps(sweep)[-1]
        _finish(lambda: resume_sweep(folder, address=address, observer=LineProgress(say), data_notice=SpacedLines(say)))


def _finish(start: Callable[[], Any]) -> NoReturn:
    """Run a sweep to its end, print its report, and leave with the exit code that says how it went."""
    from sweeper.report import report as make_report
    from sweeper.sweep import Interrupted

    try:
        result = start()
    except Interrupted:
        raise SystemExit(INTERRUPTED) from None
    click.echo(make_report(str(result.folder)).rstrip("\n"))
    raise SystemExit(1 if result.n_failed else 0)
