"""A sweep from its space to its Parquet files, in the order of ``docs/architecture.md``."""

from __future__ import annotations

import contextlib
import shlex
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sweeper.cluster.session import Cluster, address_to_join, ray_session
from sweeper.custom_code import source_digests
from sweeper.data import Dataset
from sweeper.driver.coordinator import Coordinator
from sweeper.driver.events import Notice, Observer, Preparing, SweepEnded, SweepStarted, observed_by
from sweeper.driver.recorder import Recorder
from sweeper.errors import FolderExistsError, StoreError, SweeperError
from sweeper.preflight import changed_fingerprint, load_data
from sweeper.process import reaper
from sweeper.process.interruption import Aborted, Interrupted, clear_interruption, exit_message, interruptible, set_exit_message
from sweeper.space import Space, dump_space
from sweeper.store import Folder, SweepFolder
from sweeper.store.provenance import provenance
from sweeper.store.trust import space_to_run, trust
from sweeper.studies.studies import Studies
from sweeper.text import plural
from sweeper.training.build_model import describe_models, most_weights
from sweeper.training.device import torch_sees_gpus, unused_gpu
from sweeper.tune.pack_size import choose_pack_size, size_on_a_node
from sweeper.tune.run import PackPlan, run_packs
from sweeper.tune.trainable import TrialContext

__all__ = ["Interrupted", "SweepResult", "SweepStoppedError", "resume_sweep", "start_sweep"]


class DataChangedError(SweeperError):
    """A sweep that would go on with other images than it began with."""


class ModelChangedError(SweeperError):
    """A sweep that would go on with another network than it began with."""


class SweepStoppedError(SweeperError):
    """A sweep that something outside its trials stopped (a full disk, a lost cluster). What was trained is saved.

    ``told``: the user has read the message already.
    """

    exit_code = 1

    def __init__(self, message: str, *, told: bool = False) -> None:
        super().__init__(message)
        self.told = told


@dataclass(frozen=True, slots=True)
class SweepResult:
    """Where a sweep lies, how many of its trials failed and were not repeated with success, and whether there was nothing to do."""

    folder: SweepFolder
    n_failed: int
    nothing_to_do: bool = False


def start_sweep(
    space: Space,
    *,
    results: str,
    address: str | None,
    command: Sequence[str],
    observers: Sequence[Observer] = (),
    space_file: str | None = None,
) -> SweepResult:
    """Run a space as a new sweep below ``results``. ``space_file``: where the space was read from, for the provenance.

    Raises:
        SweeperError: whatever keeps it from running; nothing is spent before data, folder and cluster are known to be there.
        Interrupted: after Ctrl-C or SIGTERM; everything up to that moment is on the disk.
    """
    observe = observed_by(*observers)
    with _interruptible("interrupted before the sweep began: there is nothing to resume"):
        Folder(results).require_bucket()  # tells what is wrong with object storage before anything is loaded
        dataset = _load(space, observe)
        model = _describe_model(space, dataset)  # refuses what no trial could be trained with
        observe(_connecting(address))
        with ray_session(address) as cluster:
            cluster.require_shared_results(results)
            folder = _new_folder(space.name, results)
            with folder.lock(_notices_to(observe)):
                folder.write_provenance(provenance(command, _describe(dataset), model, space.custom_code, space_file))
                folder.write_space(dump_space(space))
                if space.custom_code:
                    trust(folder)
                _set_exit_message(folder)
                with _opened(space, folder) as (recorder, studies):
                    return _execute(space, folder, dataset, recorder, studies, observe, cluster)


def resume_sweep(
    folder: SweepFolder,
    *,
    address: str | None,
    observers: Sequence[Observer] = (),
    retry_failed: bool = False,
    custom_code: bool | None = None,
) -> SweepResult:
    """Continue an interrupted sweep: finished trials are kept, the others continue from their last checkpoint.

    ``retry_failed``: train the failed trials once more, with the same parameters and seeds, on top of the budget. ``custom_code``: see
    :func:`sweeper.store.trust.space_to_run`.

    Raises:
        SweeperError: as :func:`start_sweep`; also if the space or the data set is not the one that the sweep began with.
        Interrupted: as :func:`start_sweep`.
    """
    observe = observed_by(*observers)
    with _interruptible(""), folder.lock(_notices_to(observe)):
        _set_exit_message(folder)
        folder.check_version()
        space = space_to_run(folder, custom_code)
        with _opened(space, folder) as (recorder, studies):
            if retry_failed:
                studies.retry_failed()
            if studies.finished:
                _close(folder, recorder)
                return SweepResult(folder, studies.n_failed, nothing_to_do=True)
            dataset = _load(space, observe)
            began = folder.read_provenance()
            if changed := changed_fingerprint(dataset, began):
                raise DataChangedError(
                    f"{folder}: the data set has changed since the sweep began ({changed}); restore the files, or run the space as a new "
                    "sweep"
                )
            if space.custom_code:
                from sweeper.training.custom_code_check import check_custom_code  # loads PyTorch, which a driver does without

                check_custom_code(space, dataset)
            _compare_custom_code(space, folder, _describe_model(space, dataset), began, _notices_to(observe))
            observe(_connecting(address))
            with ray_session(address) as cluster:
                cluster.require_shared_results(str(folder))
                return _execute(space, folder, dataset, recorder, studies, observe, cluster)


@contextlib.contextmanager
def _interruptible(words: str) -> Iterator[None]:
    """Ends a block at a signal, and turns what another thread found wrong into the error that it is."""
    try:
        with interruptible():
            set_exit_message(words)
            yield
    except Aborted as aborted:
        clear_interruption()
        raise SweepStoppedError(f"{aborted.error}\n{exit_message()}", told=True) from aborted.error
    finally:
        reaper.stop()


def _set_exit_message(folder: SweepFolder) -> None:
    """From here on, whatever ends the process, this is what the user is told."""
    set_exit_message(f"everything is saved; go on with: sweep resume {shlex.quote(str(folder))}")


@contextlib.contextmanager
def _opened(space: Space, folder: SweepFolder) -> Iterator[tuple[Recorder, Studies]]:
    """Recorder and studies of a sweep, consistent with each other; however the block ends, the files are completed after it."""
    recorder, studies = _open(space, folder)
    try:
        yield recorder, studies
    except BaseException:
        # memory may be half-way through a change, the files never are: close them, read them again, write what is due
        recorder.close()
        studies.close()
        with contextlib.suppress(SweeperError):
            recorder, studies = _open(space, folder)
            recorder.flush()
            folder.save_logs()
        raise
    finally:
        recorder.close()
        studies.close()


def _open(space: Space, folder: SweepFolder) -> tuple[Recorder, Studies]:
    folder.make_folders()
    folder.tidy()
    recorder = Recorder(folder, space.parameter_types(), space.search.metric, space.training.own_metrics)
    studies = Studies(space, folder.journal)
    studies.settle(recorder.ends)
    return recorder, studies


def _execute(
    space: Space,
    folder: SweepFolder,
    dataset: Dataset,
    recorder: Recorder,
    studies: Studies,
    observe: Observer,
    cluster: Cluster,
) -> SweepResult:
    wanted = space.resources
    gpus = wanted.gpus_per_trial
    if gpus == "auto" and not cluster.joined and not torch_sees_gpus():  # Ray may see some
        gpus = 0.0
    capacity = cluster.capacity(wanted.cpus_per_trial, gpus, str(folder), _notices_to(observe))
    if wanted.gpus_per_trial == "auto" and not capacity.gpus and (unused := unused_gpu(joined=cluster.joined)):
        observe(Notice(f"warning: {unused}"))
    context = TrialContext(folder, space.training_settings(), wanted.threads, "cuda" if capacity.gpus else "cpu")
    refill = bool(capacity.gpus)  # the CPU trains each stream of batches on its own
    coordinator = Coordinator(space, studies, recorder, folder, observe, refill=refill)
    timed = wanted.pack == "auto" and context.device != "cpu"
    if timed:
        observe(Preparing("timing packs of several sizes, to choose the fastest"))
    size_on_gpu = size_on_a_node(capacity.cpus, capacity.gpus, dataset, context.settings)
    n_weights = most_weights(folder.read_provenance().get("model"))
    size = choose_pack_size(space, studies.n_waiting, capacity.n_packs, context.device, size_on_gpu, n_weights)
    if timed:
        observe(Notice(f"packs of at most {plural(size.most, 'trial')}"))
    try:
        observe(SweepStarted(folder, space, capacity.n_packs, studies.planned))
        with tempfile.TemporaryDirectory(prefix="sweeper-", ignore_cleanup_errors=True) as scratch:
            run_packs(coordinator, context, dataset, PackPlan(size, capacity), scratch)
        _close(folder, recorder)
        observe(SweepEnded())
    except SweeperError as error:
        raise SweepStoppedError(f"{error}\n{exit_message()}") from error
    return SweepResult(folder, studies.n_failed)


def _compare_custom_code(space: Space, folder: SweepFolder, models: Any, began: Mapping[str, Any], notice: Callable[[str], None]) -> None:
    """Refuse another network; say where code of the user's own has changed since the sweep began."""
    before, now = ([] if each is None else each if isinstance(each, list) else [each] for each in (began.get("model"), models))
    for model in now if before else ():
        if model not in before:
            was = next((each["weights"] for each in before if isinstance(each, dict) and each.get("name") == model["name"]), before[0])
            raise ModelChangedError(
                f"{folder}: training.model {model['name']} has changed since the sweep began ({model['weights']} weights, was {was}); "
                "restore it, or run the space as a new sweep"
            )
    digests, recorded = source_digests(space.custom_code), began.get("own_code")
    for path in space.custom_code:
        if isinstance(recorded, dict) and path in recorded and recorded[path] != digests.get(path):
            notice(f"warning: {path} has changed since the sweep began: its trials of before and after may not be comparable")


def _close(folder: SweepFolder, recorder: Recorder) -> None:
    """Leave a finished sweep as it shall lie: one file per table, no checkpoints."""
    recorder.flush()
    folder.checkpoints.delete_all()
    folder.save_logs()


def _load(space: Space, observe: Observer) -> Dataset:
    observe(Preparing("reading the data set"))
    return load_data(space, lambda what: observe(Preparing(what)))


def _connecting(address: str | None) -> Preparing:
    address = address_to_join(address)
    return Preparing(f"joining the Ray cluster at {address}" if address else "starting Ray")


def _notices_to(observe: Observer) -> Callable[[str], None]:
    """A function that hands its line to an observer as a :class:`Notice`."""
    return lambda line: observe(Notice(line))


def _describe_model(space: Space, dataset: Dataset) -> dict[str, Any] | list[dict[str, Any]]:
    """What a sweep trains, for its provenance: a model with its weights, or a training loop, which alone knows what it builds."""
    loop = space.training.loop
    return {"loop": loop} if loop is not None else describe_models(space.architectures, dataset)


def _describe(dataset: Dataset) -> dict[str, Any]:
    return {
        "name": dataset.name,
        "fingerprint": dataset.fingerprint,
        "train_images": len(dataset.train_labels),
        "test_images": len(dataset.test_labels),
        "classes": list(dataset.classes),
        "mean": list(dataset.mean),
        "std": list(dataset.std),
    }


def _new_folder(name: str, results: str) -> SweepFolder:
    """A folder of its own for a new sweep: ``<name>-<UTC date>-<UTC time>``, with a number behind it where that is taken."""
    stamp = f"{name}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    for number in range(1, 100):
        folder = SweepFolder(f"{results.rstrip('/') or '/'}/{stamp if number == 1 else f'{stamp}-{number}'}")
        with contextlib.suppress(FolderExistsError):  # also where another process has made it in the meantime
            folder.create()
            return folder
    raise StoreError(f"{results}: a hundred sweeps named {stamp} began in this second")
