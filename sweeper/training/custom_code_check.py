"""Tries the custom models and losses before any compute is spent, and reports everything wrong with them at once, with line numbers."""

from __future__ import annotations

import torch

from sweeper.catalogue import TRAINING_PARAMETERS
from sweeper.custom_code import is_import_path
from sweeper.data import Dataset
from sweeper.errors import ModelError, Problem
from sweeper.records import Phase, TrialConfig
from sweeper.space import Space
from sweeper.space.configurations import first_point, loss_points
from sweeper.training.build_model import build_model
from sweeper.training.loop_trial import loop_problem
from sweeper.training.loss_trial import loss_problem


def check_custom_code(space: Space, dataset: Dataset) -> None:
    """Try the models on images of the data set's size, and each loss on logits of its classes, with the ends of its parameters' ranges.

    A training loop is tried in each arm with one configuration, on a few images, for one epoch; and whether it goes on from its own state.

    On the device of the trials if there is one here. Where trials want GPUs and this machine has none, what fails for want of one passes.

    Raises:
        SpaceError: with all that is wrong.
    """
    problems = _loop_problems(space, dataset) if space.training.loop is not None else _model_problems(space, dataset)
    problems += _loss_problems(space, len(dataset.classes))
    if problems:
        raise space.refusal(problems)


def _model_problems(space: Space, dataset: Dataset) -> list[Problem]:
    found: dict[tuple[str, str], Problem] = {}
    for each in space.architectures:
        if not is_import_path(each.name):
            continue
        try:
            build_model(each, dataset)
        except ModelError as error:
            what = str(error).removeprefix("model ")
            given = ", ".join(f"{name}={value}" for name, value in each.arguments)
            found.setdefault((each.name, what), space.problem(each.name, f"{what} (with {given})" if given else what))
    return list(found.values())


def _device(space: Space) -> str:
    return "cuda" if torch.cuda.is_available() and space.resources.gpus_per_trial != 0 else "cpu"


def _passes(space: Space, problem: str) -> bool:
    """Whether a problem may come from this machine's want of the GPUs that trials will have."""
    wants_gpus = space.resources.gpus_per_trial not in (0, "auto")
    return wants_gpus and _device(space) == "cpu" and ("CUDA" in problem or "NVIDIA" in problem)


def _loop_problems(space: Space, dataset: Dataset) -> list[Problem]:
    loop, found = str(space.training.loop), dict[str, Problem]()
    for arm in space.arms:
        config = TrialConfig(arm.name, Phase.SEARCH, 0, space.seed, first_point(space.definitions(arm)))
        what = loop_problem(dataset, space.training_settings(), config, _device(space))
        if what is not None and not _passes(space, what):
            given = ", ".join(f"{name}={value}" for name, value in config.parameters.items())
            tried = f"tried on a few images in arm {arm.name!r} with {given or 'no parameters'}"
            found.setdefault(what, space.problem(loop, f"{what} ({tried})"))
    return list(found.values())


def _loss_problems(space: Space, n_classes: int) -> list[Problem]:
    found: dict[tuple[str, str], Problem] = {}
    for loss, points in loss_points(space.definitions_by_arm if space.training.loop is None else {}).items():
        for point in points:
            what = loss_problem(loss, point, n_classes, _device(space))
            if what is None or _passes(space, what):
                continue
            own = [f"{name}={value}" for name, value in point.items() if name != "loss" and name not in TRAINING_PARAMETERS]
            found.setdefault((loss, what), space.problem(loss, f"{what} (with {', '.join(own)})" if own else what))
    return list(found.values())
