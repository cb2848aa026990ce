"""A sweep from its space to its Parquet files; reads like the way of the data in ``docs/architecture``."""

from __future__ import annotations

import contextlib
import signal
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import FrameType
from typing import Any

import pandas as pd

from sweeper.errors import StoreError, SweeperError
from sweeper.provenance import provenance
from sweeper.records import TrialState
from sweeper.space import Space, dump_space, parse_space
from sweeper.store import SweepFolder
from sweeper.study import Studies, TrialEnd
from sweeper.training.data import Dataset, load_dataset
from sweeper.tune.coordinator import Coordinator, Observer
from sweeper.tune.recorder import Recorder
from sweeper.tune.run import PackPlan, run_packs, threads_for
from sweeper.tune.session import pack_resources, ray_session
from sweeper.tune.trainable import TrialContext


class Interrupted(BaseException):
    """Ctrl-C or SIGTERM: like ``KeyboardInterrupt``, no ``except Exception`` on the way may swallow it."""


class DataChangedError(SweeperError):
    """A sweep that would go on with other images than it began with."""


@dataclass(frozen=True, slots=True)
class SweepResult:
    """Where a sweep lies, and how many of its trials failed."""

    folder: SweepFolder
    n_failed: int


def start_sweep(
    space: Space, *, results: str, address: str | None, command: Sequence[str], observer: Observer, data_notice: Any = None
) -> SweepResult:
    """Run a space as a new sweep below ``results``.

    Raises:
        SweeperError: whatever keeps it from running; nothing is spent before data, folder and cluster are known to be there.
        Interrupted: after Ctrl-C or SIGTERM; everything up to that moment is on the disk.
    """
    dataset = _load(space, data_notice)
    folder = SweepFolder(f"{results.rstrip('/')}/{_sweep_id(space.name, results)}")
    folder.create()
    folder.write_space(dump_space(space))
    folder.write_provenance(provenance(command, _describe(dataset)))
    return _execute(space, folder, dataset, address, observer)


def resume_sweep(folder: SweepFolder, *, address: str | None, observer: Observer, data_notice: Any = None) -> SweepResult:
    """Go on with an interrupted sweep: finished trials stay as they are, the others start from their last checkpoint.

    Raises:
        SweeperError: as :func:`start_sweep`; also if the data set is not the one that the sweep began with.
        Interrupted: as :func:`start_sweep`.
    """
    space = parse_space(folder.read_space(), f"{folder}/sweep.yaml")
    dataset = _load(space, data_notice)
    began_with = folder.read_provenance().get("dataset", {}).get("fingerprint")
    if began_with not in (None, dataset.fingerprint):
        raise DataChangedError(
            f"{folder}: the data set has changed since the sweep began (fingerprint {dataset.fingerprint[:12]}, was {began_with[:12]}); "
            "restore the files, or run the space as a new sweep"
        )
    return _execute(space, folder, dataset, address, observer)


def _execute(space: Space, folder: SweepFolder, dataset: Dataset, address: str | None, observer: Observer) -> SweepResult:
    settings = space.training_settings()
    with folder.lock(), ray_session(address), _signals_as_exceptions(), tempfile.TemporaryDirectory(prefix="sweeper-") as scratch:
        try:
            recorder = Recorder(folder, space.parameter_types(), space.search.metric)
            studies = Studies(space, folder.journal)
            studies.settle(_recorded_ends(recorder))
            coordinator = Coordinator(
                studies,
                recorder,
                folder,
                metric=space.search.metric,
                n_epochs=settings.epochs,
                max_failures=space.resources.max_failures,
                observer=observer,
            )
            resources = pack_resources(space.resources.cpus_per_trial, space.resources.gpus_per_trial)
            size = space.resources.pack if isinstance(space.resources.pack, int) else 1
            observer.started(folder, space, resources.n_packs)
            context = TrialContext(folder, settings, threads_for(resources.cpus), "cuda" if resources.gpus else "cpu")
            run_packs(coordinator, context, dataset, PackPlan(size, resources), scratch)
            recorder.close()
        except BaseException:
            # memory may be half-way through a change; the files never are
            with contextlib.suppress(SweeperError):
                Recorder(folder, space.parameter_types(), space.search.metric).close()
            raise
    states = folder.read_trials().frame["state"]
    return SweepResult(folder, int((states == TrialState.FAILED).sum()))


def _recorded_ends(recorder: Recorder) -> dict[str, TrialEnd]:
    return {
        trial_id: TrialEnd(
            TrialState(row["state"]),
            value=_none_if_missing(row.get("value")),
            error=_none_if_missing(row.get("error")),
            diverged_epoch=_none_if_missing(row.get("diverged_epoch")),
        )
        for trial_id, row in recorder.ends.items()
    }


def _none_if_missing(value: Any) -> Any:
    return None if pd.isna(value) else value


def _load(space: Space, notice: Any) -> Dataset:
    options = space.dataset
    return load_dataset(
        options.name,
        options.data_dir,
        train_images=options.train_images,
        test_images=options.test_images,
        image_size=options.image_size,
        mean=options.mean,
        std=options.std,
        progress=notice,
    )


def _describe(dataset: Dataset) -> dict[str, Any]:
    return {
        "name": dataset.name,
        "fingerprint": dataset.fingerprint,
        "train_images": len(dataset.train_labels),
        "test_images": len(dataset.test_labels),
        "classes": list(dataset.classes),
    }


def _sweep_id(name: str, results: str) -> str:
    """``<name>-<UTC date>-<UTC time>``, with a number behind it where that is taken."""
    stamp = f"{name}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    for number in range(1, 100):
        sweep_id = stamp if number == 1 else f"{stamp}-{number}"
        if not SweepFolder(f"{results.rstrip('/')}/{sweep_id}").exists():
            return sweep_id
    raise StoreError(f"{results}: a hundred sweeps named {stamp} began in this second")


@contextlib.contextmanager
def _signals_as_exceptions() -> Iterator[None]:
    """Raise :class:`Interrupted` at the first SIGINT or SIGTERM; later ones are ignored while the sweep puts its files in order."""

    def interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_IGN)
        raise Interrupted

    before = {each: signal.signal(each, interrupt) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
