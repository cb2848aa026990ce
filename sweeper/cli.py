"""The command line. Heavy imports stand inside the commands, so that ``sweep --help`` is instant."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import click

from sweeper import __version__
from sweeper.errors import SweeperError

INTERRUPTED = 130


class _Refusal(click.ClickException):
    """A mistake told without a traceback."""

    def __init__(self, error: SweeperError) -> None:
        super().__init__(str(error))
        self.exit_code = error.exit_code  # type: ignore[misc]  # click declares it on the class and reads it from the instance

    def show(self, file: Any = None) -> None:
        click.echo(self.format_message(), file=file or sys.stderr)


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except SweeperError as error:
        raise _Refusal(error) from None


def _overriding(key: str, flag: str, **options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A flag that is short for ``--set key=VALUE``; its values are collected in the order of the command line."""

    def collect(context: click.Context, parameter: click.Parameter, value: Any) -> None:  # noqa: ARG001
        if value is not None:
            context.ensure_object(dict).setdefault("overrides", []).append(f"{key}={value}")

    return click.option(flag, callback=collect, expose_value=False, **options)


_SPACE_FLAGS = (
    _overriding("compare.trials_per_arm", "--trials-per-arm", type=int, metavar="N", help="Trials that each arm's search may use."),
    _overriding("training.epochs", "--epochs", type=int, metavar="N", help="Epochs of a trial that is not pruned."),
    _overriding("compare.seeds", "--seeds", type=int, metavar="N", help="Fresh seeds on which each arm's best is confirmed; 0 skips."),
    _overriding("dataset.name", "--dataset", metavar="NAME", help="cifar10, parquet, imagefolder or synthetic."),
    _overriding("dataset.data_dir", "--data-dir", metavar="PATH", help="Folder of the data set's files."),
    _overriding("resources.gpus_per_trial", "--gpus-per-trial", metavar="X|auto", help="GPUs of a trial; fractions share one."),
    _overriding("resources.cpus_per_trial", "--cpus-per-trial", type=float, metavar="X", help="CPU cores of a trial."),
    _overriding("resources.pack", "--pack", metavar="K|auto", help="Trials that one device trains together as one fused model."),
    _overriding("seed", "--seed", type=int, metavar="N", help="Seed of samplers, splits, weights and batches."),
    _overriding("name", "--name", metavar="NAME", help="Name of the sweep; its id is this name and the time."),
)


def _space_flags(command: Callable[..., Any]) -> Callable[..., Any]:
    command = click.option(
        "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Any field of the space file, e.g. training.momentum=0.8."
    )(command)
    for flag in reversed(_SPACE_FLAGS):
        command = flag(command)
    return command


def _overrides(context: click.Context, settings: Sequence[str]) -> list[str]:
    return [*context.ensure_object(dict).get("overrides", []), *settings]


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="sweep")
def cli() -> None:
    """Which loss trains this network best, once every loss has had its own fair share of tuning?

    \b
    sweep run search_spaces/quickstart.yaml     a first sweep, on generated images
    sweep report results/                       the comparison it found
    """


@cli.command()
@click.argument("space", type=click.Path())
@_space_flags
@click.pass_context
def check(context: click.Context, space: str, settings: Sequence[str]) -> None:
    """Say whether a space file can be run, and everything that is wrong with it.

    \b
    sweep check search_spaces/focal.yaml
    sweep check search_spaces/focal.yaml --epochs 4 --set search.pruner.name=median
    """
    with _explained():
        from sweeper.space import check_warnings, load_space

        checked = load_space(space, _overrides(context, settings))
        for warning in check_warnings(checked):
            click.echo(f"warning: {warning}", err=True)
        n_trials = sum(checked.planned_trials(arm) for arm in checked.arms)
        arms = ", ".join(arm.name for arm in checked.arms)
        click.echo(
            f"{space}: ok: {len(checked.arms)} arms ({arms}), {n_trials} search trials of {checked.training.epochs} epochs, "
            f"{checked.compare.seeds} confirm seeds each"
        )


@cli.command()
@click.argument("space", type=click.Path())
@_space_flags
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
    with _explained():
        from sweeper.space import check_warnings, load_space

        checked = load_space(space, _overrides(context, settings))
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
                observer=LineProgress(_say),
                data_notice=SpacedLines(_say),
            )
        )


@cli.command()
@click.argument("sweep")
@click.option("--address", default=None, metavar="ADDR", help="A running Ray cluster to join; default: Ray on this machine.")
def resume(sweep: str, address: str | None) -> None:
    """Go on with an interrupted sweep.

    \b
    sweep resume results/focal-20260101-120000
    """
    with _explained():
        from sweeper.progress import LineProgress, SpacedLines
        from sweeper.store import find_sweeps
        from sweeper.sweep import resume_sweep

        folder = find_sweeps(sweep)[-1]
        _finish(lambda: resume_sweep(folder, address=address, observer=LineProgress(_say), data_notice=SpacedLines(_say)))


@cli.command()
@click.argument("results", default="results")
@click.option("--format", "format_", default="table", show_default=True, help="table, markdown, csv, json, latex or html.")
@click.option("--output", default=None, metavar="PATH", help="Write there instead of to the terminal.")
@click.option("--by", default="arm", show_default=True, metavar="NAME", help="arm, or any parameter: loss, gamma, learning_rate, ...")
@click.option("--metric", default=None, metavar="NAME", help="Metric to compare by; default: the space's search.metric.")
@click.option("--sweep", default=None, metavar="ID", help="One sweep of a folder that holds several.")
def report(results: str, format_: str, output: str | None, by: str, metric: str | None, sweep: str | None) -> None:
    """Print the comparison that a sweep found.

    \b
    sweep report results/
    sweep report results/ --format markdown --output comparison.md
    """
    with _explained():
        from sweeper.report import report as make_report

        text = make_report(results, format=format_, by=by, metric=metric, sweep=sweep)
        if output is None:
            click.echo(text.rstrip("\n"))
        else:
            from pathlib import Path

            from sweeper.store import Folder

            path = Path(output)
            Folder(str(path.parent)).write(path.name, text.encode())


def _say(line: str) -> None:
    click.echo(line, err=True)


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


def main() -> None:
    """Entry point of the console script."""
    cli(prog_name="sweep")
