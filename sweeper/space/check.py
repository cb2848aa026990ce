"""Rules that involve several sections of a space file; all violations are found at once."""

from __future__ import annotations

from collections.abc import Iterator

from sweeper.catalogue import DATASETS, TRAINING_PARAMETERS
from sweeper.records import VAL_METRICS
from sweeper.space.check_arms import arm_problems, compared_problems
from sweeper.space.check_conditions import condition_problems
from sweeper.space.draft import Draft
from sweeper.space.elsewhere import suggestion
from sweeper.space.schema import LOOP_KEYS, Constant, Dataset, FloatRange, IntRange, Search, Training
from sweeper.space.values import Finding, UnfitError, fitted
from sweeper.space.wording import Path
from sweeper.text import listed, shown

N_CLASSES = 10
"""Of every data set whose training images are counted beforehand."""


def find_problems(draft: Draft) -> Iterator[Finding]:
    """Every broken rule between the parts of ``draft``. Rules about whole arms are tried only once everything below them is sound."""
    training = _loop(draft) if draft.has_loop else _training(draft)
    findings = [*training, *_metric(draft), *condition_problems(draft), *compared_problems(draft)]
    if draft.dataset is not None:
        findings += _dataset(draft.dataset)
    if draft.search is not None and draft.training is not None:
        findings += _pruner(draft.search, draft.training.epochs)
    yield from findings
    if not findings and draft.all_losses_known and len(draft.parameters) == len(draft.written) and draft.training and draft.compare:
        yield from arm_problems(draft, draft.training, draft.compare)


def _dataset(dataset: Dataset) -> Iterator[Finding]:
    path: Path = ("dataset",)
    name, entry = dataset.name, DATASETS[dataset.name]
    of_the_user = [each for each, other in DATASETS.items() if other.is_of_the_user]
    if name in of_the_user and dataset.data_dir is None:
        yield Finding((*path, "data_dir"), f"is missing: data set '{name}' is read from a folder; write data_dir or give --data-dir")
    if name == "synthetic" and dataset.data_dir is not None:
        yield Finding((*path, "data_dir"), f"data set 'synthetic' is generated and reads no folder, got {shown(dataset.data_dir)}")
    if dataset.image_size is not None and name not in of_the_user:
        yield Finding((*path, "image_size"), f"only data sets {listed(of_the_user)} have this key, and this is '{name}'")
    for owner, other in DATASETS.items():
        for key in other.keys:
            if owner != name and getattr(dataset, key) is not None:
                yield Finding((*path, key), f"only data set '{owner}' has this key, and this is '{name}'")
    if isinstance(dataset.validation, str):
        return
    n_train = dataset.train_images if name == "synthetic" else entry.n_train
    if n_train and dataset.validation < N_CLASSES:
        yield Finding((*path, "validation"), f"must be >= {N_CLASSES}, an image of each class, got {dataset.validation}")
    elif dataset.validation < 1:
        yield Finding((*path, "validation"), f"must be >= 1, got {dataset.validation}")
    if n_train and dataset.validation >= n_train:
        yield Finding((*path, "validation"), f"must be < {n_train}, the training images of '{name}', got {dataset.validation}")


def _training(draft: Draft) -> Iterator[Finding]:
    if draft.training is None:
        return
    if "model" in draft.written and "model" in draft.written_training:
        yield Finding(("parameters", "model"), "is set under training too; keep one of the two")
    for name, value in draft.constants.items():
        try:
            fitted(value, TRAINING_PARAMETERS[name])
        except UnfitError as error:
            yield Finding(("training", name), str(error))
        if name in draft.written:
            yield Finding(("parameters", name), f"is set under training too, to {shown(value)}; keep one of the two")
    given = {*draft.written_training, *draft.written, *draft.set_by_every_arm()}
    if "learning_rate" not in given and draft.written:
        yield Finding(
            ("parameters", "learning_rate"), "is missing: write a range or a constant, for example {low: 1e-4, high: 1.0, log: true}"
        )
    for name in TRAINING_PARAMETERS.keys() & {*draft.written_training, *draft.parameters}:
        if reason := draft.does_nothing(name):
            yield Finding(("training" if name in draft.written_training else "parameters", name), reason)
    warmup = draft.parameters.get("warmup_epochs") or Constant(value=draft.training.warmup_epochs or 0)
    longest = warmup.high if isinstance(warmup, FloatRange | IntRange) else max(warmup.values, default=0)
    if isinstance(longest, int | float) and longest and longest >= draft.training.epochs:
        path = ("parameters" if "warmup_epochs" in draft.written else "training", "warmup_epochs")
        yield Finding(path, f"must be < training.epochs, which is {draft.training.epochs}, got {longest:g}")
    for name, other in (("step_size", "step_gamma"), ("step_gamma", "step_size")):
        if name in given and other not in given and "step" in draft.training_values("schedule"):
            section = "training" if name in draft.written_training else "parameters"
            yield Finding((section, name), f"does nothing without {other}; write both or neither")


def _loop(draft: Draft) -> Iterator[Finding]:
    """Keys that do nothing beside a training loop of the user's own."""
    for name in sorted(draft.written_training - LOOP_KEYS):
        if name in TRAINING_PARAMETERS:
            yield Finding(("training", name), "training.loop is handed what is under parameters, and nothing else: write it there")
        elif name in Training.model_fields:
            yield Finding(("training", name), "does nothing beside training.loop, which trains as it likes: leave it out")
    if draft.resources and draft.resources.backend != "auto":
        yield Finding(("resources", "backend"), f"does nothing beside training.loop: leave it out, got {shown(draft.resources.backend)}")


def _metric(draft: Draft) -> Iterator[Finding]:
    """The metric of the search is known, and metrics are declared for a loop alone."""
    own = {each.val_column: each for each in draft.training.own_metrics} if draft.training else {}
    if own and not draft.has_loop:
        yield Finding(
            ("training", "metrics"), "only a training loop of your own gives metrics of your own: write training.loop, or leave it out"
        )
    known = {**VAL_METRICS, **own}
    if draft.search is not None and draft.search.metric not in known:
        name, hint = draft.search.metric, suggestion(draft.search.metric, known, "metric")
        declared = " one of your own is declared under training.metrics;" if draft.has_loop else ""
        yield Finding(("search", "metric"), f"unknown metric {shown(name)};{declared} {hint}")


def _pruner(search: Search, epochs: int) -> Iterator[Finding]:
    pruner = search.pruner
    path: Path = ("search", "pruner")
    while True:
        options = pruner.options
        lowest = options.get("min_resource")
        if isinstance(lowest, int) and lowest > epochs:
            yield Finding((*path, "min_resource"), f"must be <= training.epochs, which is {epochs}, got {lowest}")
        highest = options.get("max_resource")
        if isinstance(highest, int) and isinstance(lowest, int) and highest < lowest:
            yield Finding((*path, "max_resource"), f"must be >= min_resource, which is {lowest}, got {highest}")
        if pruner.wrapped is None:
            return
        pruner, path = pruner.wrapped, (*path, "wrapped")
