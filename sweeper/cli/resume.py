"""The command ``resume``."""

from __future__ import annotations

from collections.abc import Sequence

import click

from sweeper.cli.options import address_option, custom_code_option, log_to_option, quiet_and_verbose_options, sweep_argument
from sweeper.cli.output import say
from sweeper.cli.run import LOADING, run_to_the_end
from sweeper.process.interruption import interruptible
from sweeper.view.waiting import announcing


@click.command()
@sweep_argument()
@address_option
@log_to_option
@click.option("--retry-failed", is_flag=True, help="Train the failed trials once more, on top of the budget.")
@custom_code_option
@quiet_and_verbose_options
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
    """Continue an interrupted sweep: ended trials are kept, the others continue from their last checkpoint.

    \b
    sweep resume
    sweep resume focal-20260101-120000
    sweep resume results/focal-20260101-120000 --retry-failed
    """
    with interruptible(ends_the_process=True):
        from sweeper.view.find import find_sweep

        folder = find_sweep(sweep, results)
        if log_to:
            from sweeper.tune.loggers import check_loggers

            check_loggers(log_to, str(folder))  # before Ray and torch are loaded, which takes seconds
        with announcing(LOADING, None if quiet else say):
            from sweeper.sweep import resume_sweep

        run_to_the_end(
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
