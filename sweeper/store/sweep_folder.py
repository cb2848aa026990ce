"""One sweep's folder, ``results/<sweep-id>/``: the only place that knows its file names and what each file holds."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import json
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from safetensors import SafetensorError
from safetensors.numpy import load, save

from sweeper.errors import FolderExistsError, NoSweepError, StoreError
from sweeper.metrics import Metric
from sweeper.records import (
    EPOCH_COLUMNS,
    PREDICTION_COLUMNS,
    SCHEMA_VERSION,
    TRIAL_COLUMNS,
    Column,
    Network,
    Predictions,
    TrialConfig,
    trial_columns,
)
from sweeper.store.checkpoints import Checkpoints
from sweeper.store.folder import Folder, file_name
from sweeper.store.outage import Patience
from sweeper.store.remote import JOURNAL, ROW_LOG, RemoteLogs, cache_folder
from sweeper.store.row_log import Kind
from sweeper.store.tables import StoredTable, parquet_bytes, read_predictions, read_rows, unlogged_rows, write_rows
from sweeper.text import first_line

_FLOAT16_MAX = 65504.0
_SECONDS_TO_LOOK = 1.0
"""How long a process that asks for the owner of a sweep may hold its lock."""
_FOLDERS = ("trials", "epochs", "predictions", "checkpoints", "tune")
_WEIGHTS = "weights"
"""The folder that exists only in a sweep that keeps them."""


@dataclass(frozen=True, slots=True, eq=False)
class KeptWeights:
    """The weights of one trial by name, its network, and both as the bytes of a safetensors file."""

    content: bytes
    network: Network
    tensors: Mapping[str, npt.NDArray[Any]]


class SweepFolder:
    """One sweep's folder, on a local disk or on object storage; can be pickled, so that workers write to it too."""

    def __init__(self, uri: str, *, patient: bool = False) -> None:
        self.folder = Folder(uri)
        self.folder.patience = Patience() if patient else None
        self.id = self.folder.uri.rsplit("/", 1)[-1]
        if self.folder.local and self.id in (".", ".."):
            self.id = Path(self.folder.uri).resolve().name
        self.checkpoints = Checkpoints(self.folder)
        self._logs = None if self.folder.local else RemoteLogs(self.folder, cache_folder(self.folder.uri))

    def __reduce__(self) -> tuple[Callable[..., SweepFolder], tuple[str]]:
        # a worker waits for unavailable storage as its driver does
        patient = self.folder.patience is not None
        return functools.partial(SweepFolder, patient=patient), (self.folder.__getstate__()["uri"],)

    def __str__(self) -> str:
        return self.folder.uri

    @property
    def local_folder(self) -> Path:
        """Where the driver appends to files: the sweep's folder itself when it is local, else a folder in the user's cache."""
        return Path(self.folder.uri) if self.folder.local else cache_folder(self.folder.uri)

    @property
    def journal(self) -> Path:
        """Optuna's journal, which one writer appends to."""
        return self.local_folder / JOURNAL

    @property
    def row_log(self) -> Path:
        """Every row of trials and epochs, appended line by line."""
        return self.local_folder / ROW_LOG

    def exists(self) -> bool:
        return self.folder.exists("sweep.yaml")

    def create(self) -> None:
        """Make the folder. Without ``sweep.yaml``, which is written last, it is no sweep yet.

        Raises:
            FolderExistsError: if something of this name is already there.
            StoreError: if the storage refuses.
        """
        if not (self._make() if self._logs is None else self._logs.create()):
            raise FolderExistsError(f"{self}: already exists; continue it with `sweep resume {self}`, or give another --name")
        self.make_folders()

    def _make(self) -> bool:
        """Make the folder on a disk; whether it was not there."""
        path = Path(self.folder.uri)
        if path.parent.is_file():
            raise StoreError(f"{path.parent}: is a file, and no folder can be made in it; give another --results")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir()
        except FileExistsError:
            return False
        except OSError as error:
            raise StoreError(f"{self}: cannot make this folder: {error.strerror}") from error
        return True

    def make_folders(self) -> None:
        """Make the folders within, those that are missing."""
        for name in _FOLDERS:
            self.folder.make(name)
        if not self.folder.local:
            try:
                self.row_log.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StoreError(f"{self.row_log.parent}: {error.strerror}") from error

    def tidy(self) -> None:
        """Delete what a killed process left half-written. Only the owner of the :meth:`lock` may."""
        for name in ("", *_FOLDERS, _WEIGHTS):
            self.folder.delete_temporaries(name)

    @contextlib.contextmanager
    def lock(self, tell: Callable[[str], None] | None = None) -> Iterator[None]:
        """Own the sweep for the length of the block. The system releases the lock when the process ends, however it ends.

        On object storage this also downloads the sweep's logs, and waits for unavailable storage: ``tell`` takes the line
        that says so, and the one that says that it is back.

        Raises:
            StoreError: if another process owns it.
        """
        path = self.local_folder / "lock"
        try:
            if self._logs is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise StoreError(f"{path}: cannot open the lock: {error.strerror}") from error
        try:
            self._own(descriptor, path)
            with self._logs.owned(tell) if self._logs is not None else contextlib.nullcontext():
                yield
        finally:
            os.close(descriptor)

    def _own(self, descriptor: int, path: Path) -> None:
        deadline = time.monotonic() + _SECONDS_TO_LOOK
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"{os.getpid()} on {socket.gethostname()}\n".encode(), 0)
            except BlockingIOError:
                if time.monotonic() < deadline:
                    time.sleep(0.05)
                    continue
                owner = os.pread(descriptor, 100, 0).decode(errors="replace").strip() or "unknown"
                raise StoreError(f"{self}: another process is running this sweep (process {owner}); wait for it, or end it first") from None
            except OSError as error:
                raise StoreError(f"{path}: cannot lock: {error.strerror}") from error
            return

    def owner(self) -> str | None:
        """The process that owns the sweep, as ``<pid> on <machine>``; ``None`` where none does.

        On a disk a process of this machine; on object storage one of any machine, with the time of its last renewal.
        """
        try:
            with (self.local_folder / "lock").open("rb") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    return file.read(100).decode(errors="replace").strip() or "unknown"
        except OSError:
            pass  # it was never owned on this machine
        return self._logs.owner() if self._logs is not None else None

    def save_logs(self) -> None:
        """Bring the journal and the row log to where the sweep lies, if they are appended to elsewhere, and what :meth:`later` put off.

        A thread does so every few seconds while the sweep is owned.
        """
        if self._logs is not None:
            self._logs.save()

    def later(self, write: Callable[[], None]) -> None:
        """Write something at once on a disk; on object storage by a thread, in order, when the logs as they are now have been saved.

        Raises:
            StoreError: if this or something before it cannot be written.
        """
        if self._logs is not None:
            self._logs.later(write)
        else:
            write()

    def write_space(self, text: str) -> None:
        self.folder.write("sweep.yaml", text.encode())

    def read_space(self) -> str:
        return self._read_text("sweep.yaml")

    def write_provenance(self, provenance: Mapping[str, Any]) -> None:
        content = {"schema_version": SCHEMA_VERSION, **provenance}
        self.folder.write("provenance.json", (json.dumps(content, indent=2) + "\n").encode())

    def check_version(self) -> None:
        """Raises ``StoreError`` if the sweep was begun with another schema version."""
        version = self.read_provenance().get("schema_version", SCHEMA_VERSION)
        if version != SCHEMA_VERSION:
            raise StoreError(
                f"{self}/provenance.json: schema version {version}, this sweeper writes version {SCHEMA_VERSION}; "
                "resume with the version of sweeper that began it, or run the space as a new sweep"
            )

    def read_provenance(self) -> dict[str, Any]:
        """What the sweep was run with; empty where the file is missing.

        Raises:
            StoreError: if the file is there and is not a JSON object.
        """
        if not self.folder.exists("provenance.json"):
            return {}
        try:
            content = json.loads(self._read_text("provenance.json"))
        except (ValueError, RecursionError) as error:
            raise StoreError(f"{self}/provenance.json: not valid JSON: {error}") from error
        if not isinstance(content, dict):
            raise StoreError(f"{self}/provenance.json: expected an object, found {type(content).__name__}")
        return content

    def write_tables(self, parameter_types: Mapping[str, str], log_bytes: int, own_metrics: Sequence[Metric] = ()) -> None:
        """Make the files of ``trials`` and ``epochs`` from the first bytes of the row log; with a ``param_*`` column per parameter, and
        those of the metrics that the space declares.
        """
        parameters = [Column(f"param_{name}", kind, "", "") for name, kind in sorted(parameter_types.items())]  # type: ignore[arg-type]
        epochs, trials = [each.val_column for each in own_metrics], [each for metric in own_metrics for each in trial_columns(metric)]
        own_epochs, own_trials = ([Column(name, "float64", "", "") for name in names] for names in (epochs, trials))
        write_rows(self.folder, "epochs", [*EPOCH_COLUMNS, *own_epochs], self._logged, log_bytes)
        write_rows(self.folder, "trials", [*TRIAL_COLUMNS, *own_trials, *parameters], self._logged, log_bytes)

    def write_predictions(self, config: TrialConfig, predictions: Iterable[Predictions]) -> None:
        """Write the logits of one trial, rounded to float16 and clipped to its range, as one file."""
        tables = []
        for part in predictions:
            n_images, n_classes = part.logits.shape
            identity = (self.id, config.arm, config.search, str(config.phase), config.trial_id, config.number, config.seed, part.split)
            constants = [pa.repeat(pa.scalar(value), n_images) for value in identity]
            logits = stored_precision(part).logits.astype(np.float16)
            columns = [*constants, pa.array(part.images), pa.array(part.labels), *(pa.array(logits[:, cls]) for cls in range(n_classes))]
            names = [*(column.name for column in PREDICTION_COLUMNS), *(f"logit_{cls}" for cls in range(n_classes))]
            tables.append(pa.Table.from_arrays(columns, names=names))
        table = pa.concat_tables(tables)
        logit_names = [name for name in table.column_names if name.startswith("logit_")]
        self.folder.write(f"predictions/{file_name(config.trial_id)}.parquet", parquet_bytes(table, plain_columns=logit_names))

    def write_weights(self, config: TrialConfig, network: Network, tensors: Mapping[str, npt.NDArray[Any]]) -> None:
        """Write the weights of one trial by name, and what else it takes to use its network, as one safetensors file."""
        about = {name: value if isinstance(value, str) else json.dumps(value) for name, value in asdict(network).items()}
        content = save(dict(tensors), {"sweep": self.id, "trial": config.trial_id, **about})
        self.folder.write(_weights_name(config.trial_id), content)

    def has_weights(self, trial_id: str) -> bool:
        """Whether the weights of a trial were kept."""
        return self.folder.exists(_weights_name(trial_id))

    def read_weights(self, trial_id: str) -> KeptWeights:
        """The weights of a trial that were kept.

        Raises:
            StoreError: if none were, or the file is damaged.
        """
        name = _weights_name(trial_id)
        content = self.folder.read(name)
        try:
            tensors = load(content)  # checks that the file is whole
            about = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
            model = about["model"]
            others = {field.name: json.loads(about[field.name]) for field in fields(Network) if field.name != "model"}
            return KeptWeights(content, Network(model=model, **others), tensors)
        except (SafetensorError, ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{self}/{name}: damaged, or not written by sweeper: {first_line(error)}") from error

    def read_trials(self) -> StoredTable:
        """One row per trial that has ended, whoever runs the sweep now: ``records.TRIAL_COLUMNS`` and a ``param_<name>`` column per
        parameter.
        """
        return read_rows(self.folder, "trials", self._logged)

    def read_epochs(self) -> StoredTable:
        """One row per trial and epoch, whoever runs the sweep now: ``records.EPOCH_COLUMNS``."""
        return read_rows(self.folder, "epochs", self._logged)

    def read_unlogged(self, log_bytes: int) -> Iterator[tuple[Kind, dict[str, Any]]]:
        """Kinds and rows in Parquet files that were not made from this row log, of so many bytes."""
        yield from unlogged_rows(self.folder, "epochs", log_bytes)
        yield from unlogged_rows(self.folder, "trials", log_bytes)

    def read_predictions(self, arm: str | None = None) -> StoredTable:
        """Logits of the confirm phase, of one arm or of all: ``records.PREDICTION_COLUMNS`` and ``logit_<class>``."""
        return read_predictions(self.folder, arm)

    def delete_ended_checkpoints(self, ended: Iterable[str], live_packs: Iterable[str]) -> None:
        """Delete checkpoints that no trial needs any more, when the logs that say so are saved: see :meth:`Checkpoints.delete_ended`."""
        self.later(functools.partial(self.checkpoints.delete_ended, frozenset(ended), frozenset(live_packs)))

    def _logged(self, start: int, stop: int | None = None) -> Iterator[bytes]:
        """Lines of the row log: see ``tables.LogLines``. On object storage those that were saved, unless this process appends to it."""
        if self._logs is not None and not self._logs.owned_here:
            yield from self._logs.saved_rows(start)
        elif self.row_log.exists():
            try:
                with self.row_log.open("rb") as file:
                    position = file.seek(start if start <= file.seek(0, os.SEEK_END) else 0)
                    for line in file:
                        position += len(line)
                        if stop is not None and position > stop:
                            return
                        yield line
            except OSError as error:
                raise StoreError(f"{self.row_log}: {error.strerror}") from error

    def _read_text(self, name: str) -> str:
        try:
            return self.folder.read(name).decode()
        except UnicodeDecodeError as error:
            raise StoreError(f"{self}/{name}: not UTF-8 text: {error}") from error


def _weights_name(trial_id: str) -> str:
    return f"{_WEIGHTS}/{file_name(trial_id)}.safetensors"


def find_sweeps(uri: str) -> list[SweepFolder]:
    """The sweeps below a results folder, oldest first, or the one sweep that ``uri`` itself is.

    One whose provenance is torn counts as oldest.

    Raises:
        NoSweepError: if the folder does not exist or holds no sweep.
        StoreError: if the storage cannot be asked.
    """
    folder, hint = Folder(uri), "run one: sweep run search_spaces/quickstart.yaml"
    itself = SweepFolder(folder.uri)
    if itself.exists():
        return [itself]
    if folder.local and Path(folder.uri).is_file():
        raise NoSweepError(f"{uri}: is a file; give the folder that holds the sweeps, or a sweep's own")
    if folder.local and not folder.exists():
        raise NoSweepError(f"{uri}: no such folder; {hint}")
    found = [SweepFolder(f"{folder.uri}/{name}") for name in folder.names(directories=True)]
    sweeps = [sweep for sweep in found if sweep.exists()]
    if not sweeps:
        folder.require_bucket()
        raise NoSweepError(f"{uri}: no sweep in this folder (a sweep's folder holds sweep.yaml); {hint}")
    return sorted(sweeps, key=lambda sweep: (_began(sweep), sweep.id))


def _began(sweep: SweepFolder) -> str:
    try:
        return str(sweep.read_provenance().get("started_at", ""))
    except StoreError:
        return ""


def stored_precision(predictions: Predictions) -> Predictions:
    """The same predictions with logits as a file holds them: rounded to float16 and clipped to its range."""
    rounded = np.clip(predictions.logits, -_FLOAT16_MAX, _FLOAT16_MAX).astype(np.float16).astype(np.float32)
    return replace(predictions, logits=rounded)
