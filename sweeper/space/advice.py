"""Warnings about a valid space: what it does that its author may not have intended."""

from __future__ import annotations

import math
from collections.abc import Iterator

from sweeper.catalogue import LOSSES
from sweeper.records import Value
from sweeper.significance import NEEDED_SEARCHES, NEEDED_SEEDS, SIGNIFICANCE
from sweeper.space.arms import Definition, possible_values
from sweeper.space.configurations import iterate_grid, n_points
from sweeper.space.schema import Algorithm
from sweeper.space.space import Space
from sweeper.text import listed, plural


def check_warnings(space: Space) -> list[str]:
    """One sentence per doubt about a valid space, and per parameter that was left out of its file; empty when there is none."""
    return [*space.remarks, *_selection(space), *_fairness(space), *_pruner(space), *_sampler(space), *_confirm(space)]


def _selection(space: Space) -> Iterator[str]:
    if space.dataset.validation == "test":
        yield "dataset.validation is test: every epoch is measured on the test split, so the best figures are chosen on it and too good"
    if space.search.metric == "val_loss":
        yield "search.metric val_loss is each trial's own loss: parameters that shrink it win; prefer val_nll"


def _fairness(space: Space) -> Iterator[str]:
    if space.training.loop is not None:
        return
    fixed = []
    for arm in space.arms:
        if not any(definition.name == "learning_rate" and definition.is_free for definition in space.definitions(arm)):
            fixed.append(arm.name)
    if fixed and len(space.arms) > 1:
        whose = f"arms {listed(fixed)}" if len(fixed) > 1 else f"arm {listed(fixed)}"
        yield f"learning_rate is not tuned for {whose}: a loss may lose only because its best learning rate is another"
        losses = {str(loss) for arm in space.arms for one in space.definitions(arm) if one.name == "loss" for loss in _losses(one)}
        elementwise = {loss in LOSSES and LOSSES[loss].elementwise for loss in losses}
        if space.training.reduction == "elements" and len(elementwise) > 1:
            yield (
                "reduction elements divides the gradient of elementwise losses by the number of classes and that of the others not: "
                "at one learning rate they are not comparable"
            )


def _losses(definition: Definition) -> tuple[Value, ...]:
    return possible_values(definition.parameter, "loss") or ()


def _pruner(space: Space) -> Iterator[str]:
    pruners = [space.search.pruner]
    while pruners[-1].wrapped is not None:
        pruners.append(pruners[-1].wrapped)
    for pruner in pruners:
        yield from _one_pruner(space, pruner)


def _one_pruner(space: Space, pruner: Algorithm) -> Iterator[str]:
    epochs, trials = space.training.epochs, space.compare.trials_per_arm
    if pruner.name == "wilcoxon":
        yield "pruner wilcoxon takes the steps of a trial for independent samples, which the epochs of a curve are not: it prunes wrongly"
    if pruner.name in ("median", "percentile"):
        pack, searches = space.resources.pack, len(space.arms) * space.compare.searches
        if pack != "auto" and pack > searches:  # the searches fill a pack in turn
            yield (
                f"pruner {pruner.name} compares with completed trials: of a pack of {pack} up to {math.ceil(pack / searches)} belong to "
                "one search, start together and are not compared with each other"
            )
        if _number(pruner, "n_startup_trials") >= trials:
            yield (
                f"pruner {pruner.name} waits for {plural(_number(pruner, 'n_startup_trials'), 'trial')} and {_planned(trials)}: "
                "it prunes nothing"
            )
    if pruner.name in ("median", "percentile", "threshold") and _number(pruner, "n_warmup_steps") >= epochs:
        yield f"pruner {pruner.name} warms up for {_number(pruner, 'n_warmup_steps')} of {plural(epochs, 'epoch')}: it prunes nothing"
    if pruner.name == "patient" and _number(pruner, "patience") >= epochs:
        yield f"pruner patient waits {plural(_number(pruner, 'patience'), 'epoch')} and there {_are(epochs)} {epochs}: it prunes nothing"
    if pruner.name == "successive_halving" and pruner.options.get("min_resource") != "auto":
        first = _number(pruner, "min_resource") * _number(pruner, "reduction_factor") ** _number(pruner, "min_early_stopping_rate")
        if first >= epochs:
            yield f"pruner successive_halving decides after epoch {first} of {epochs}: it saves nothing"


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def _planned(trials: int) -> str:
    return f"{trials} {_are(trials)} planned"


def _number(algorithm: Algorithm, option: str) -> int:
    value = algorithm.options.get(option, 0)
    return value if isinstance(value, int) else 0


def _sampler(space: Space) -> Iterator[str]:
    sampler, trials = space.search.sampler, space.compare.trials_per_arm
    free = [definition for arm in space.arms for definition in space.definitions(arm) if definition.is_free]
    if not free:
        return
    if sampler.name in ("tpe", "gp") and _number(sampler, "n_startup_trials") >= trials:
        yield (
            f"sampler {sampler.name} draws its first {plural(_number(sampler, 'n_startup_trials'), 'trial')} at random and "
            f"{_planned(trials)}: lower n_startup_trials or plan more"
        )
    odd = {definition.name for definition in free if definition.when or possible_values(definition.parameter, definition.name) is not None}
    if sampler.name in ("cmaes", "qmc") and odd:
        yield f"sampler {sampler.name} draws conditional parameters and choices at random: {listed(sorted(odd))}"
    if sampler.name == "grid":
        for arm in space.arms:
            size = sum(1 for _ in iterate_grid(space.definitions(arm), n_points(sampler)))
            if size > trials:
                planned = f"{plural(trials, 'trial')} {_are(trials)} planned"
                yield f"the grid of arm '{arm.name}' has {size:,} points and {planned}: the rest is left out"


def _confirm(space: Space) -> Iterator[str]:
    searches, seeds = space.compare.searches, space.compare.seeds
    if space.training.keep == "weights" and not seeds:
        yield "training.keep is weights, and compare.seeds is 0: weights are those of confirm trials, and there are none"
    if len(space.arms) < 2:
        return
    if searches > 1 and not seeds:
        yield f"compare.seeds is 0: the best of {plural(searches, 'search')} is not confirmed on fresh seeds, and nothing compares the arms"
    if 1 < searches < NEEDED_SEARCHES:
        yield (
            f"compare.searches is {searches}: a permutation of the searches cannot reach {SIGNIFICANCE} with fewer than {NEEDED_SEARCHES}"
        )
    if searches == 1 and seeds and space.is_tuned:
        yield (
            "compare.searches is 1: the verdict will speak of the configurations that are found, not of the arms: "
            f"another search may reverse it; {NEEDED_SEARCHES} or more ask about the arms"
        )
    if searches == 1 and 0 < seeds < NEEDED_SEEDS:
        yield f"compare.seeds is {seeds}: a paired sign-flip test cannot reach {SIGNIFICANCE} with fewer than {NEEDED_SEEDS}"
