"""Tries the custom models and losses before any compute is spent, and reports everything wrong with them at once, with line numbers."""

from __future__ import annotations

import torch

from sweeper.catalogue import TRAINING_PARAMETERS
from sweeper.custom_code import is_import_path
from sweeper.data import Dataset
from sweeper.errors import ModelError, Problem
from sweeper.space import Space
from sweeper.space.configurations import loss_points
from sweeper.training.build_model import build_model
from sweeper.training.loss_trial import loss_problem


def check_custom_code(space: Space, dataset: Dataset) -> None:
    """Try the models on images of the data set's size, and each loss on logits of its classes, with the ends of its parameters' ranges.

    On the device of the trials if there is one here. Where trials want GPUs and this machine has none, what fails for want of one passes.

    Raises:
        SpaceError: with all that is wrong.
    """
    if problems := [*_model_problems(space, dataset), *_loss_problems(space, len(dataset.classes))]:
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


def _loss_problems(space: Space, n_classes: int) -> list[Problem]:
    wants_gpus = space.resources.gpus_per_trial not in (0, "auto")
    has_gpus = torch.cuda.is_available() and space.resources.gpus_per_trial != 0
    found: dict[tuple[str, str], Problem] = {}
    for loss, points in loss_points(space.definitions_by_arm).items():
        for point in points:
            what = loss_problem(loss, point, n_classes, "cuda" if has_gpus else "cpu")
            if what is None or (wants_gpus and not has_gpus and ("CUDA" in what or "NVIDIA" in what)):
                continue
            own = [f"{name}={value}" for name, value in point.items() if name != "loss" and name not in TRAINING_PARAMETERS]
            found.setdefault((loss, what), space.problem(loss, f"{what} (with {', '.join(own)})" if own else what))
    return list(found.values())
