"""Commands that run a space: ``check``, ``run``, ``resume``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import click

from sweeper.cli.names import complete_space
from sweeper.cli.options import (
    SpaceCommand,
    address_option,
    custom_code,
    explained,
    log_to_option,
    loudness,
    no_custom_code,
    overrides_of,
    results_option,
    say,
    space_flags,
    sweep_argument,
    tell,
)
from sweeper.process.interruption import interruptible
from sweeper.view.waiting import telling

_LOADING = "loading PyTorch and Ray"


@click.command(cls=SpaceCommand)
@click.argument("space", shell_complete=complete_space)
@space_flags
@results_option
@address_option
@log_to_option
@no_custom_code
@click.pass_context
def check(
    context: click.Context,
    space: str,
    settings: Sequence[str],
    results: str,
    address: str | None,
    log_to: Sequence[str],
    no_custom_code: bool,
) -> None:
    """Say whether a space file can be run, and everything that is wrong with it.

    Looks at the folders, devices, loggers and models that `run` would need, and names what `run` alone can find out. Creates nothing.

    \b
    sweep check search_spaces/focal.yaml
    sweep check search_spaces/focal.yaml --epochs 4 --set search.pruner.name=median
    sweep check search_spaces/focal.yaml --gpus-per-trial 0.5 --results /data/results --log-to mlflow
    """
    with explained():
        from sweeper.preflight import preflight
        from sweeper.space import check_warnings, load_space
        from sweeper.text import plural

        checked = load_space(space, overrides_of(context, settings), allow_custom_code=not no_custom_code)
        for warning in check_warnings(checked):
            click.echo(f"warning: {warning}", err=True)
        not_checked = preflight(checked, results=results, address=address, log_to=log_to)
        n_trials = sum(checked.planned_trials(arm) for arm in checked.arms)
        arms = ", ".join(arm.name for arm in checked.arms)
        tell(
            f"{space}: ok: {plural(len(checked.arms), 'arm')} ({arms}), {plural(n_trials, 'search trial')} of "
            f"{plural(checked.training.epochs, 'epoch')}, {plural(checked.compare.seeds, 'confirm seed')} each"
        )
        for unknown in not_checked:
            say(f"not checked: {unknown}")


@click.command(cls=SpaceCommand)
@click.argument("space", shell_complete=complete_space)
@space_flags
@results_option
@address_option
@log_to_option
@click.option("--dry-run", is_flag=True, help="Print the plan and about how long it takes here; create nothing.")
@no_custom_code
@loudness
@click.pass_context
def run(
    context: click.Context,
    space: str,
    settings: Sequence[str],
    results: str,
    address: str | None,
    log_to: Sequence[str],
    dry_run: bool,
    no_custom_code: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Tune every arm of a space, prune, confirm, and print the comparison.

    \b
    sweep run search_spaces/quickstart.yaml
    sweep run search_spaces/focal.yaml --dataset parquet --data-dir data/cifar10
    sweep run search_spaces/focal.yaml --trials-per-arm 6 --epochs 4 --seeds 0
    sweep run search_spaces/focal.yaml --dry-run
    sweep run search_spaces/focal.yaml --log-to tensorboard --log-to mlflow
    """
    with explained(), interruptible(ends_the_process=True):
        with telling("reading the space file", None if quiet else say):
            from sweeper.preflight import preflight
            from sweeper.space import check_warnings, load_space

            checked = load_space(space, overrides_of(context, settings), allow_custom_code=not no_custom_code)
        for warning in () if quiet else check_warnings(checked):
            say(f"warning: {warning}")
        with telling("looking at what it needs", None if quiet else say):
            not_checked = preflight(checked, results=results, address=address, log_to=log_to)
        if dry_run:
            with telling(_LOADING, None if quiet else say):
                from sweeper.plan import make_plan, plan_text
            from sweeper.view.lines import SpacedLines

            tell(plan_text(make_plan(checked, notice=SpacedLines(say))))
            for unknown in not_checked:
                say(f"not checked: {unknown}")
            return
        with telling(_LOADING, None if quiet else say):
            from sweeper.store.provenance import command_line
            from sweeper.sweep import start_sweep

        _finish(
            lambda observers: start_sweep(
                checked,
                results=results,
                address=address,
                command=command_line(),
                observers=observers,
                space_file=space,
            ),
            log_to=log_to,
            quiet=quiet,
            verbose=verbose,
        )


@click.command()
@sweep_argument()
@address_option
@log_to_option
@click.option("--retry-failed", is_flag=True, help="Train the failed trials once more, on top of the budget.")
@custom_code
@loudness
def resume(
    sweep: str | None,
    results: str,
    address: str | None,
    log_to: Sequence[str],
    retry_failed: bool,
    custom_code: bool | None,
    quiet: bool,
    verbose: bool,
) -> None:
    """Go on with an interrupted sweep: what has ended stays, the rest starts from its last epoch.

    \b
    sweep resume
    sweep resume focal-20260101-120000
    sweep resume results/focal-20260101-120000 --retry-failed
    """
    with explained(), interruptible(ends_the_process=True):
        from sweeper.view.find import find_sweep

        folder = find_sweep(sweep, results)
        _check(log_to, str(folder))
        with telling(_LOADING, None if quiet else say):
            from sweeper.sweep import resume_sweep

        _finish(
            lambda observers: resume_sweep(
                folder,
                address=address,
                observers=observers,
                retry_failed=retry_failed,
                custom_code=custom_code,
            ),
            log_to=log_to,
            quiet=quiet,
            verbose=verbose,
        )


def _check(log_to: Sequence[str], results: str) -> None:
    """Refuse loggers that cannot work before Ray and torch are loaded."""
    if log_to:
        from sweeper.tune.loggers import check_loggers

        check_loggers(log_to, results)


def _finish(start: Callable[[Sequence[Any]], Any], *, log_to: Sequence[str], quiet: bool, verbose: bool) -> NoReturn:
    """Run a sweep to its end, print its report unless ``quiet``, and leave with the exit code that says how it went."""
    with telling(_LOADING, None if quiet else say):
        from sweeper.report import report as make_report
        from sweeper.tune.loggers import Loggers
        from sweeper.view.watch import watching

    with watching(quiet=quiet, verbose=verbose) as watcher:
        result = start([watcher, Loggers(log_to, say, quiet=quiet)])
    if result.nothing_to_do and not quiet:
        say(f"nothing to do: every trial of {result.folder} has ended")
    if not quiet:
        tell(make_report(str(result.folder)).rstrip("\n"))
    if result.n_failed:
        from sweeper.report.failures import failures_by_cause

        failures = failures_by_cause(result.folder.read_trials().frame)
        say(failures if quiet else f"\n{failures}")
    if not quiet:
        say(f"\nResults: {result.folder}\nNext:    sweep show {result.folder}")
    raise SystemExit(1 if result.n_failed else 0)
