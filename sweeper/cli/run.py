"""The command ``run``, and how a sweep is run to its end, which ``resume`` shares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import click

from sweeper.cli.check import check_space
from sweeper.cli.options import SpaceCommand, no_custom_code_option, quiet_and_verbose_options, space_options
from sweeper.cli.output import say, tell
from sweeper.process.interruption import interruptible
from sweeper.view.waiting import announcing

LOADING = "loading libraries"


@click.command(cls=SpaceCommand)
@space_options
@click.option("--dry-run", is_flag=True, help="Print the plan and about how long it takes here; create nothing.")
@no_custom_code_option
@quiet_and_verbose_options
def run(
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
    announce = None if quiet else say
    with interruptible(ends_the_process=True):
        checked, not_checked = check_space(
            space,
            settings,
            results=results,
            address=address,
            log_to=log_to,
            no_custom_code=no_custom_code,
            warn=announce,
            announce=announce,
        )
        if dry_run:
            with announcing(LOADING, announce):
                from sweeper.plan import make_plan, plan_text
            from sweeper.view.lines import SpacedLines

            tell(plan_text(make_plan(checked, notice=SpacedLines(say))))
            for unknown in not_checked:
                say(f"not checked: {unknown}")
            return
        with announcing(LOADING, announce):
            from sweeper.store.provenance import command_line
            from sweeper.sweep import start_sweep

        run_to_the_end(
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


def run_to_the_end(start: Callable[[Sequence[Any]], Any], *, log_to: Sequence[str], quiet: bool, verbose: bool) -> NoReturn:
    """Run a sweep to its end, print its report unless ``quiet``, and exit with 1 if any of its trials failed, else with 0."""
    with announcing(LOADING, None if quiet else say):
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
