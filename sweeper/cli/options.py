"""Arguments and flags that commands share."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import click
from click.shell_completion import CompletionItem

from sweeper.catalogue import SHORTHANDS
from sweeper.cli.completion import complete_space, complete_sweep, complete_sweep_or_trial, complete_trial

Decorated = Callable[..., Any]


class SpaceCommand(click.Command):
    """A command with :func:`space_options`, which knows the fields of a space file that have no flag, and other tools' flags."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        given = list(args)  # the parser empties its list
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            from sweeper.space.keys import meant_by_flag

            flags = {flag for parameter in self.params for flag in parameter.opts}
            meant = meant_by_flag(error.option_name, _value_of(error.option_name, given), flags)
            if meant is None:
                raise
            raise click.NoSuchOption(error.option_name, f"{error.message.rstrip('.')}: {meant}", ctx=ctx) from None


def _value_of(flag: str, arguments: Sequence[str]) -> str | None:
    """The value after ``flag`` on the command line, if there is one."""
    for index, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name == flag:
            following = arguments[index + 1 : index + 2]
            return value if equals else next((each for each in following if not each.startswith("-")), None)
    return None


def _overriding(*flags: str, **options: Any) -> Callable[[Decorated], Decorated]:
    """A flag that is short for ``--set key=VALUE``; its values are collected in the order of the command line."""
    key = SHORTHANDS[flags[0].removeprefix("--").replace("-", "_")]

    def collect(context: click.Context, parameter: click.Parameter, value: Any) -> None:  # noqa: ARG001
        if value is not None:
            context.ensure_object(dict).setdefault("overrides", []).append((key, value))

    return click.option(*flags, callback=collect, expose_value=False, **options)


_TEXT_KEYS = frozenset({"dataset.name", "dataset.data_dir", "name"})

_SPACE_FLAGS = (
    _overriding("--searches", type=int, metavar="N", help="Independent searches of each arm; 1 compares configurations only."),
    _overriding("--trials-per-arm", "--num-samples", type=int, metavar="N", help="Trials that each search of an arm may use."),
    _overriding("--epochs", type=int, metavar="N", help="Epochs of a trial that is not pruned."),
    _overriding("--seeds", type=int, metavar="N", help="Fresh seeds on which the best of each search is confirmed; 0 skips."),
    _overriding("--dataset", metavar="NAME", help="cifar10, parquet, imagefolder or synthetic."),
    _overriding("--data-dir", metavar="PATH", help="Folder of the data set's files."),
    _overriding("--gpus-per-trial", metavar="X|auto", help="GPUs of a trial; fractions share one."),
    _overriding("--cpus-per-trial", type=float, metavar="X", help="CPU cores of a trial."),
    _overriding("--pack", metavar="K|auto", help="Trials that one device trains together as one fused model."),
    _overriding("--backend", metavar="NAME", help="On a GPU: auto, fused (kernels for the convnet) or operators (PyTorch's)."),
    _overriding("--seed", type=int, metavar="N", help="Seed of samplers, splits, weights and batches."),
    _overriding("--name", metavar="NAME", help="Name of the sweep; its id is this name and the time."),
)


def not_empty(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:  # noqa: ARG001
    """``value``, unless it is an empty text: a variable of the shell that is not set."""
    if value is not None and not value.strip():
        raise click.BadParameter("is empty")
    return value


def _not_both(context: click.Context, parameter: click.Parameter, value: bool) -> bool:  # noqa: ARG001
    if value and any(context.params.get(name) for name in ("quiet", "verbose")):
        raise click.UsageError("-q and -v exclude each other", context)
    return value


results_option = click.option(
    "--results",
    default="results",
    show_default=True,
    metavar="PATH_OR_URI",
    callback=not_empty,
    help="Folder that holds the sweeps.",
)
address_option = click.option(
    "--address", default=None, metavar="ADDR", help="A running Ray cluster to join; default: Ray on this machine."
)
log_to_option = click.option(
    "--log-to", multiple=True, metavar="NAME", help="Log trials to tensorboard, mlflow or wandb too; may be repeated."
)
json_option = click.option("--json", is_flag=True, help="Print JSON, for programs.")
no_custom_code_option = click.option(
    "--no-custom-code", is_flag=True, help="Refuse a space that names a custom loss or model: importing it runs its code."
)
custom_code_option = click.option(
    "--custom-code/--no-custom-code",
    default=None,
    help="Import custom losses and models, which runs their code, or refuse to. Default: import if the sweep was begun here.",
)


def quiet_and_verbose_options(command: Decorated) -> Decorated:
    """The command with ``--quiet`` and ``--verbose``."""
    quiet = "Print errors only: no progress, no warnings, no report (`sweep report` prints it)."
    command = click.option("-v", "--verbose", is_flag=True, callback=_not_both, help="A line for every trial that ends.")(command)
    return click.option("-q", "--quiet", is_flag=True, callback=_not_both, help=quiet)(command)


def space_options(command: Decorated) -> Decorated:
    """The command with a space file, a flag for each of its fields that is often changed, and where and how to run it."""
    space = click.argument("space", shell_complete=complete_space)
    settings = click.option(
        "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Any field of the space file, e.g. training.momentum=0.8."
    )
    for option in reversed((space, *_SPACE_FLAGS, settings, results_option, address_option, log_to_option)):
        command = option(command)
    return command


def overrides(settings: Sequence[str]) -> list[str]:
    """What the flags of :func:`space_options` ask for, as ``key=value``, ``--set`` last; a folder called ``1e5`` stays text."""
    from sweeper.space import as_override
    from sweeper.space.yaml_lines import read_yaml

    flags: list[tuple[str, Any]] = click.get_current_context().ensure_object(dict).get("overrides", [])
    return [
        *(
            as_override(key, value) if key in _TEXT_KEYS and read_yaml(str(value)).data != value else f"{key}={value}"
            for key, value in flags
        ),
        *settings,
    ]


def sweep_argument(
    name: str = "sweep", *, several: str = "the newest of them", complete: Callable[..., list[CompletionItem]] = complete_sweep
) -> Callable[[Decorated], Decorated]:
    """The command with an optional SWEEP and ``--results``; its help says after the first sentence what SWEEP may be.

    ``several``: what a folder that holds sweeps means.
    """

    def decorate(command: Decorated) -> Decorated:
        meaning = (
            "SWEEP is a sweep's folder or URI, its id, or the beginning of one; without it, the newest sweep below --results. "
            f"A folder that holds sweeps means {several}."
        )
        first, _, rest = inspect.cleandoc(command.__doc__ or "").partition("\n\n")
        command.__doc__ = f"{first}\n\n{meaning}\n\n{rest}"
        return click.argument(name, required=False, metavar="[SWEEP]", shell_complete=complete)(results_option(command))

    return decorate


def sweep_and_trial_arguments(metavar: str) -> Callable[[Decorated], Decorated]:
    """The command with an optional SWEEP, a TRIAL shown as ``metavar``, and ``--results``."""
    trial = click.argument("trial", shell_complete=complete_trial, required=False, metavar=metavar)
    return lambda command: sweep_argument(complete=complete_sweep_or_trial)(trial(command))
