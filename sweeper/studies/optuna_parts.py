"""Builds Optuna's distributions, samplers and pruners from a space."""

from __future__ import annotations

import random
from typing import Any, cast

import optuna

from sweeper.records import ONLY_SEARCH, Phase, Value, study_name
from sweeper.space.algorithms import PRUNERS, SAMPLERS, construct
from sweeper.space.arms import Arm, Definition
from sweeper.space.configurations import iterate_grid, n_points
from sweeper.space.schema import Algorithm, FloatRange, IntRange
from sweeper.space.space import Space


def draw(space: Space, arm: Arm, trial: optuna.trial.BaseTrial) -> dict[str, Value]:
    """The parameters of one trial, each drawn through ``trial.suggest_*`` so that the trial's own ``params`` equal them.

    Constants are categories of one value. A parameter whose ``when`` fails is absent; the loss then uses its own default.
    """
    drawn: dict[str, Value] = {}
    for definition in space.definitions(arm):
        if definition.is_active(drawn):
            drawn[definition.name] = _suggest(trial, definition)
    return drawn


def _suggest(trial: optuna.trial.BaseTrial, definition: Definition) -> Value:
    name, parameter = definition.name, definition.parameter
    if isinstance(parameter, FloatRange):
        return trial.suggest_float(name, parameter.low, parameter.high, step=parameter.step, log=parameter.log)
    if isinstance(parameter, IntRange):
        return trial.suggest_int(name, parameter.low, parameter.high, step=parameter.step, log=parameter.log)
    # a cast, since Optuna's categories may also be None, which ours never are
    return cast("Value", trial.suggest_categorical(name, parameter.values))


def grid(space: Space, arm: Arm, search: int = ONLY_SEARCH) -> list[dict[str, Value]]:
    """Every valid configuration of ``arm`` once, in an order that the space's seed and the search alone decide.

    A continuous range has as many points as the sampler's ``points`` says, evenly spaced (in the logarithm where ``log``).
    """
    points = list(iterate_grid(space.definitions(arm), n_points(space.search.sampler)))
    random.Random(f"{space.seed}/{study_name(arm.name, search, Phase.SEARCH)}").shuffle(points)  # noqa: S311  an order, no secret
    return points


def build_sampler(space: Space, arm: Arm, seed: int) -> optuna.samplers.BaseSampler:
    """A sampler for the study of ``arm``.

    ``grid`` gives a random one: the study enqueues every point of :func:`grid`, since Optuna's ``GridSampler`` knows no conditions.
    ``tpe`` models conditional parameters in groups unless the space file says otherwise.
    """
    sampler = space.search.sampler
    seed %= 2**32  # what numpy's generators take
    options: dict[str, Any] = {**sampler.options, "seed": seed}
    if sampler.name == "grid":
        options = {"seed": seed}
    if sampler.name in ("gp", "cmaes", "qmc"):
        options["warn_independent_sampling"] = False
    if sampler.name == "qmc":
        options["warn_asynchronous_seeding"] = False
    is_conditional = any(definition.when and definition.is_free for definition in space.definitions(arm))
    if sampler.name == "tpe" and is_conditional and options.get("multivariate") is not False:
        options.setdefault("group", True)
    return construct(SAMPLERS[sampler.name], options)


def build_pruner(space: Space) -> optuna.pruners.BasePruner:
    """The pruner of every study; Hyperband's largest resource is the number of epochs unless the file gives another."""
    return _pruner(space.search.pruner, space.training.epochs)


def _pruner(pruner: Algorithm, epochs: int) -> optuna.pruners.BasePruner:
    options: dict[str, Any] = dict(pruner.options)
    if pruner.name == "hyperband" and options.get("max_resource") == "auto":
        options["max_resource"] = epochs
    if pruner.name == "patient":
        options["wrapped_pruner"] = _pruner(pruner.wrapped, epochs) if pruner.wrapped else None
    return construct(PRUNERS[pruner.name], options)
