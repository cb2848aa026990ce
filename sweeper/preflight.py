"""What keeps a space from being run here, found before anything is created or started: for ``check``, ``run --dry-run`` and ``run``."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sweeper.custom_code import is_import_path
from sweeper.data import Dataset, load_dataset, split
from sweeper.data.cifar10 import is_there
from sweeper.data.folder import data_folder
from sweeper.errors import ClusterError, DataError, StoreError, SweeperError
from sweeper.metrics import metric_of
from sweeper.space import Space
from sweeper.space.arms import possible_values
from sweeper.space.configurations import architectures
from sweeper.store import Folder
from sweeper.store.provenance import available_cores
from sweeper.store.remote import cache_folder
from sweeper.text import first_line, plural

_REMOTE = re.compile(r"(?:s3|gs|gcs|abfs|abfss|hdfs|viewfs)://")
"""Storage that Arrow knows. Opening some of it asks the network."""

_ROOM_BYTES = 2**20
"""What must go into the results folder for a sweep to begin."""

_ALWAYS_LARGE_ENOUGH = 32
"""Pixels a side that suffice for every model of the catalogue; to ask the model itself takes the second that torch is loaded in."""


BYTES_A_WEIGHT = 4


class PreflightError(SweeperError):
    """Several mistakes, each of which alone keeps a sweep from running."""


def preflight(space: Space, *, results: str, address: str | None = None, log_to: Sequence[str] = ()) -> tuple[str, ...]:
    """Find what keeps a space from being run with these options; returns what only ``run`` itself can find out, in words.

    Creates nothing and leaves the network alone. Of a data set at most one image of each split is read.

    Raises:
        SweeperError: the one mistake that there is, or all of them as a :class:`PreflightError`.
    """
    problems: list[SweeperError] = []
    not_checked: list[str] = []

    def found(check: Callable[[], Any]) -> Any:
        try:
            return check()
        except SweeperError as error:
            problems.append(error)
        return None

    if log_to:
        from sweeper.tune.loggers import check_loggers

        found(lambda: check_loggers(log_to, results))
    found(lambda: _check_results(results))
    if _REMOTE.match(results):
        not_checked.append(f"{results}: `run` is the first to reach and to write it")
    if address := address or os.environ.get("RAY_ADDRESS"):
        not_checked.append(f"the cluster at {address}: whether it is there, has the CPUs and GPUs of a trial, and can write to the results")
    else:
        found(lambda: _check_resources(space))
        found(lambda: _check_precision(space))
    if (dataset := found(lambda: load_data(space, None, glance=True))) is not None:
        found(lambda: not_checked.extend(_unread_data(space)))
        found(lambda: _check_model(space, dataset))
    if len(problems) > 1:
        lines = "\n".join(f"  {line}" for problem in problems for line in str(problem).splitlines())
        raise PreflightError(f"{len(problems)} problems\n{lines}")
    if problems:
        raise problems[0]
    return tuple(not_checked)


def kept_weights(space: Space) -> str | None:
    """How many trials a sweep will keep the weights of, and how much room they take, in words; ``None`` where it keeps none.

    Raises:
        SweeperError: as :func:`preflight`.
    """
    n_trials = len(space.arms) * space.compare.searches * space.compare.seeds
    if space.training.keep == "nothing" or not n_trials:
        return None
    if space.training.loop is not None:
        return f"keeps the weights that the loop returns of {plural(n_trials, 'confirm trial')}"
    from sweeper.training.build_model import describe_models, most_weights

    n_weights = most_weights(describe_models(space.architectures, load_data(space, None, glance=True)))
    at_most = "at most " if len(space.architectures) > 1 else ""
    return f"keeps the weights of {plural(n_trials, 'confirm trial')}: {at_most}about {_size(n_trials * BYTES_A_WEIGHT * n_weights)}"


def _size(n_bytes: float) -> str:
    """``1.2 MB``, in two digits or whole."""
    for unit in ("kB", "MB", "GB"):
        n_bytes /= 1000
        if n_bytes < 999.5 or unit == "GB":
            break
    return f"{n_bytes:.1f} {unit}" if n_bytes < 9.95 else f"{n_bytes:,.0f} {unit}"


def load_data(space: Space, notice: Any, *, glance: bool = False) -> Dataset:
    """The data set that a space names; ``notice`` is told in words how far a download is. ``glance``: see :func:`load_dataset`.

    Raises:
        DataError: if it cannot be had, is not what it should be, or has too few classes for the search's metric.
    """
    options = space.dataset
    dataset = load_dataset(
        options.name,
        options.data_dir,
        train_images=options.train_images,
        test_images=options.test_images,
        image=options.image,
        label=options.label,
        image_size=options.image_size,
        mean=options.mean,
        std=options.std,
        progress=notice,
        glance=glance,
    )
    metric, n_classes = metric_of(space.search.metric), dataset.n_classes
    if n_classes < metric.least_classes:
        raise DataError(
            f"{options.data_dir or options.name}: search.metric {metric.val_column} needs at least {metric.least_classes} classes, "
            f"got {n_classes}; take val_accuracy"
        )
    if isinstance(options.validation, int):
        split(dataset.train_labels, options.validation, space.seed)  # refuses what no trial could be trained with
    return dataset


def changed_fingerprint(dataset: Dataset, provenance: Mapping[str, Any]) -> str | None:
    """The fingerprint of a data set, and the one that a sweep began with, in words; ``None`` where they are equal, or it has noted none."""
    then = provenance.get("dataset", {}).get("fingerprint")
    return None if then in (None, dataset.fingerprint) else f"fingerprint {dataset.fingerprint[:12]}, was {str(then)[:12]}"


def _unread_data(space: Space) -> Sequence[str]:
    """What a glance at the data set leaves open.

    Raises:
        DataError: if it is to be downloaded into a folder that cannot be written to.
    """
    options = space.dataset
    if options.name == "synthetic":
        return ()
    if options.name != "cifar10":
        return (f"the images of {options.data_dir or options.name} but the first of each split: `run` decodes them",)
    folder = data_folder(options.name, options.data_dir)
    if is_there(folder):
        return (f"the checksums of CIFAR-10 in {folder}: `run` computes them",)
    if reason := _unwritable(folder):
        raise DataError(f"{folder}: cannot be written: {reason}; name a folder that can be as --data-dir DIR")
    return (f"the data set: `run` downloads CIFAR-10 into {folder}",)


def _check_model(space: Space, dataset: Dataset) -> None:
    """Try the model on images of the data set's size, and what is the user's own with it."""
    if space.custom_code:
        from sweeper.training.custom_code_check import check_custom_code

        check_custom_code(space, dataset)
    if min(dataset.train_images.shape[1:3]) < _ALWAYS_LARGE_ENOUGH:
        from sweeper.training.build_model import build_model

        for architecture in space.architectures:
            if not is_import_path(architecture.name):
                build_model(architecture, dataset)


def _check_resources(space: Space) -> None:
    """Whether this machine, which no other node joins, can hold one pack."""
    from sweeper.cluster.autoscaler import packs_on

    cpus, gpus = space.resources.cpus_per_trial, space.resources.gpus_per_trial
    n_cpus, n_gpus = available_cores(), 0
    needs_gpu = space.resources.backend == "fused"
    if gpus == "auto" and not needs_gpu:
        gpus = 0.0
    elif gpus or needs_gpu:
        import torch

        n_gpus = torch.cuda.device_count()
    if needs_gpu and not (gpus and n_gpus):
        raise ClusterError("resources.backend: fused trains on a GPU, and trials would have none here; take auto")
    gpus = 1.0 if gpus == "auto" else gpus
    if not packs_on({"CPU": n_cpus, "GPU": n_gpus}, cpus, gpus):
        raise ClusterError(
            f"no trial can run on this machine: it wants {cpus:g} CPU and {gpus:g} GPU of {n_cpus} CPU and {n_gpus} GPU; "
            "lower --cpus-per-trial or --gpus-per-trial, or give the --address of a cluster that has them"
        )


def _check_precision(space: Space) -> None:
    """Whether trials of the convnet that this machine can run only on its CPU are to be trained in bfloat16."""
    model_of = space.training_settings().architecture
    wanted = any(
        each.name == "precision" and "bfloat16" in (possible_values(each.parameter, each.name) or ())
        for arm, found in space.definitions_by_arm.items()
        for each in found
        if any(not is_import_path(model.name) for model in architectures({arm: found}, model_of))
    )
    if not wanted or space.resources.backend != "auto" or space.training.loop is not None:
        return
    import torch

    if space.resources.gpus_per_trial == 0 or not torch.cuda.is_available():
        raise ClusterError(
            "training.precision: bfloat16 is of no use for the convnet on a CPU, which computes in float32 alone, and faster; "
            "take float32, or GPUs"
        )


def _check_results(results: str) -> None:
    """Whether a sweep's folder can be made below ``results``, as far as this machine can tell by itself."""
    if _REMOTE.match(results):
        logs = cache_folder(results).parent
        if reason := _unwritable(logs):
            raise StoreError(
                f"{logs}: cannot keep the sweep's logs here: {reason}; set SWEEPER_CACHE_DIR to a folder that can be written to"
            )
        return
    folder = Folder(results)
    folder.exists()  # refuses storage that Arrow does not know
    if not folder.local:
        return
    if os.path.isfile(folder.uri):  # noqa: PTH113  # never raises, whatever may not be looked at
        raise StoreError(f"{results}: is a file, and no folder can be made in it; give another --results")
    if reason := _unwritable(Path(folder.uri)):
        raise StoreError(f"{results}: cannot be written to: {reason}; give another --results")


def _unwritable(folder: Path) -> str | None:
    """Why no file can be made in ``folder``, or in the folder that would have to hold it; ``None`` if one can.

    A file without a name (where the system has such files) is written there for a moment: permissions do not tell of a disk that is full or
    mounted for reading only, and tell root nothing at all.
    """
    folder = folder.absolute()
    try:
        while not folder.exists():
            folder = folder.parent
        if not folder.is_dir():
            return f"{folder} is no folder"
        with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
            if file.write(bytes(_ROOM_BYTES)) < _ROOM_BYTES:
                return f"{folder} has no room"
    except OSError as error:
        return f"{folder}: {first_line(error)}"
    return None
