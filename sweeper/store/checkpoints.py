"""Checkpoints of a sweep: a file per pack, with a row for each of its members, in which a member is found again by its trial.

A file is an ``.npz`` of plain arrays, which needs no pickle to be read. ``<pack>.pack.npz`` holds a whole pack and is written again and
again while that trains; where its members have several models, it holds those of one, and ``<pack>+1.pack.npz`` those of the next.
``<trial>.npz`` holds one trial: earlier versions wrote no others, and a trial that is to be trained again in another pack gets one before
the file of its own goes on without it. Several files may hold a trial, since packs die: most epochs win.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from operator import attrgetter
from typing import Any, BinaryIO, TypeVar

import numpy as np
import numpy.typing as npt
from jaxtyping import Float

from sweeper.errors import StorageAwayError, StoreError
from sweeper.records import EPOCH_FIGURES, ONLY_SEARCH, SCHEMA_VERSION, EpochMetrics, Phase, TrialConfig
from sweeper.store.folder import Folder, file_name

_Arrays = Mapping[str, npt.NDArray[Any]]
_Result = TypeVar("_Result")
_META = "__meta__"
_SUFFIX, _PACK_SUFFIX, _PART = ".npz", ".pack.npz", "+"
_figures = attrgetter(*EPOCH_FIGURES)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What continues an interrupted trial: plain arrays, the epochs behind them, and the configuration they belong to."""

    arrays: _Arrays
    history: tuple[EpochMetrics, ...]
    config: TrialConfig


@dataclass(frozen=True, slots=True)
class PackCheckpoint:
    """What continues the members of a pack: row i of the arrays belongs to ``configs[i]``, which has ``histories[i]`` behind it.

    ``rows``: what members have learnt, by kind. ``shapes``: by kind, names and shapes of what a row holds, in the order in which it does.
    """

    shapes: Mapping[str, Mapping[str, tuple[int, ...]]]
    rows: Mapping[str, Float[npt.NDArray[Any], "member weight"]]
    configs: Sequence[TrialConfig]
    histories: Sequence[tuple[EpochMetrics, ...]]


class Checkpoints:
    """The checkpoints in the folder of a sweep. What a file holds is read from its index, once for as long as the file is not replaced."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._known: dict[str, tuple[float, dict[str, int]]] = {}

    def write_pack(self, pack_id: str, *parts: PackCheckpoint) -> None:
        """Replace the file of a pack, or its files, one for each model of its members."""
        for number, checkpoint in enumerate(parts):
            members = [
                {"config": _identity(config), "epochs": len(history)}
                for config, history in zip(checkpoint.configs, checkpoint.histories, strict=True)
            ]
            figures = [_figures(epoch) for history in checkpoint.histories for epoch in history]
            self._write(
                f"{file_name(pack_id)}{f'{_PART}{number}' if number else ''}{_PACK_SUFFIX}",
                {"kinds": checkpoint.shapes, "columns": EPOCH_FIGURES, "members": members},
                {**checkpoint.rows, "history": np.asarray(figures, dtype=np.float64).reshape(-1, len(EPOCH_FIGURES))},
            )

    def write(self, checkpoint: Checkpoint) -> None:
        """Replace the file of one trial."""
        meta = {"config": _identity(checkpoint.config), "history": [asdict(epoch) for epoch in checkpoint.history]}
        self._write(_own_name(checkpoint.config), meta, checkpoint.arrays)

    def read(self, configs: Iterable[TrialConfig]) -> dict[str, Checkpoint]:
        """The last checkpoint of each of these trials that has one, by trial id.

        A file that is not whole (a disk that lied about flushing) or belongs to another configuration is none: it costs the trial's time,
        and loses nothing.

        Raises:
            StoreError: if the storage does not give a file that is there.
        """
        own_names = {_own_name(config): config for config in configs}
        n_epochs = dict.fromkeys((config.trial_id for config in own_names.values()), -1)
        found: dict[str, Checkpoint] = {}
        # newest first: an older file seldom holds more epochs, and need not be opened
        for name, held in self._index(lambda name: name.endswith(_PACK_SUFFIX) or name in own_names):
            wanted = {config.trial_id: config for config in own_names.values() if held.get(config.trial_id, -1) > n_epochs[config.trial_id]}
            none: list[Checkpoint] = []
            for checkpoint in self._open(name, partial(_checkpoints, wanted=wanted), none) if wanted else none:
                found[checkpoint.config.trial_id] = checkpoint
                n_epochs[checkpoint.config.trial_id] = len(checkpoint.history)
        return found

    def delete_ended(self, ended: Collection[str], live_packs: Collection[str]) -> None:
        """Delete each file all of whose trials are among ``ended``, but those of ``live_packs``, which hold trials that train."""
        live = {file_name(pack_id) for pack_id in live_packs}
        for name, held in list(self._index(lambda name: name.removesuffix(_PACK_SUFFIX).partition(_PART)[0] not in live)):
            if all(trial_id in ended for trial_id in held):
                self._folder.delete(_path(name))

    def delete_all(self) -> None:
        """Delete all checkpoints: no trial is left that could need one."""
        for name in self._folder.names("checkpoints"):
            self._folder.delete(_path(name))

    def _index(self, wanted: Callable[[str], bool]) -> Iterator[tuple[str, dict[str, int]]]:
        """Names of the files that are wanted, newest first, each with the epochs of the trials that it holds, by trial id."""
        written = {name: time for name, time in self._folder.times("checkpoints").items() if name.endswith(_SUFFIX)}
        self._known = {name: known for name, known in self._known.items() if written.get(name) == known[0]}
        for name in filter(wanted, sorted(written, key=written.__getitem__, reverse=True)):
            if name not in self._known:
                self._known[name] = written[name], self._open(name, _held, {})
            yield name, self._known[name][1]

    def _open(self, name: str, parse: Callable[[Any, dict[str, Any]], _Result], nothing: _Result) -> _Result:
        """What ``parse`` makes of a file's arrays, read one by one as it asks for them, and meta; ``nothing`` of one that is torn, foreign
        or gone.
        """

        def parsed(file: BinaryIO) -> _Result:
            try:
                with np.load(file, allow_pickle=False) as arrays:
                    meta = json.loads(bytes(arrays[_META]))
                    return parse(arrays, meta) if meta["schema_version"] == SCHEMA_VERSION else nothing
            except OSError:
                raise
            except Exception:  # any way in which a foreign or torn file fails to parse means the same: no checkpoint
                return nothing

        try:
            return self._folder.read_from(_path(name), parsed)
        except StorageAwayError:
            raise
        except StoreError:  # the storage refuses, a torn file points outside of itself, or the driver has just deleted it
            return parsed(io.BytesIO(self._folder.read(_path(name)))) if self._folder.exists(_path(name)) else nothing

    def _write(self, name: str, meta: dict[str, Any], arrays: _Arrays) -> None:
        content: dict[str, Any] = {
            **arrays,
            _META: np.frombuffer(json.dumps({"schema_version": SCHEMA_VERSION, **meta}).encode(), np.uint8),
        }
        buffer = io.BytesIO()
        np.savez(buffer, **content)
        self._folder.write(_path(name), buffer.getbuffer())


def _held(arrays: Any, meta: dict[str, Any]) -> dict[str, int]:  # noqa: ARG001
    """Epochs of the trials in a file, by trial id."""
    members = meta.get("members") or [{"config": meta["config"], "epochs": len(meta["history"])}]
    return {_trial_id(member["config"]): int(member["epochs"]) for member in members}


def _checkpoints(arrays: Any, meta: dict[str, Any], wanted: Mapping[str, TrialConfig]) -> list[Checkpoint]:
    """Checkpoints in a file of those trials that are wanted, in this very configuration."""
    if "members" not in meta:
        config = wanted[_trial_id(meta["config"])]
        history = tuple(EpochMetrics(**epoch) for epoch in meta["history"])
        plain = {key: arrays[key] for key in arrays.files if key != _META}
        return [Checkpoint(plain, history, config)] if _is_of(meta["config"], config) else []
    kinds = meta.get("kinds") or dict.fromkeys(("weights", "velocity"), meta["shapes"])  # earlier versions knew no others
    rows = {kind: arrays[kind] for kind in kinds}
    figures, stop, found = arrays["history"].tolist(), 0, []
    for row, member in enumerate(meta["members"]):
        start, stop = stop, stop + int(member["epochs"])
        this = wanted.get(_trial_id(member["config"]))
        if this is not None and _is_of(member["config"], this):
            plain = {"epochs": np.asarray(stop - start)}
            for kind, values in rows.items():
                plain |= {f"{kind}/{name}": piece for name, piece in _split(values[row], kinds[kind]).items()}
            history = tuple(EpochMetrics.of(dict(zip(meta["columns"], epoch, strict=True))) for epoch in figures[start:stop])
            found.append(Checkpoint(plain, history, this))
    return found


def _split(row: npt.NDArray[Any], shapes: Mapping[str, Sequence[int]]) -> dict[str, npt.NDArray[Any]]:
    """The arrays of these shapes that a row holds one after the other."""
    stops = np.cumsum([math.prod(shape) for shape in shapes.values()])
    return {name: piece.reshape(shape) for (name, shape), piece in zip(shapes.items(), np.split(row, stops[:-1]), strict=True)}


def _path(name: str) -> str:
    return f"checkpoints/{name}"


def _own_name(config: TrialConfig) -> str:
    return f"{file_name(config.trial_id)}{_SUFFIX}"


def _trial_id(stored: Mapping[str, Any]) -> str:
    return TrialConfig(**{**stored, "phase": Phase(stored["phase"])}).trial_id


def _is_of(stored: Mapping[str, Any], config: TrialConfig) -> bool:
    return {"search": ONLY_SEARCH, **stored} == _identity(config)


def _identity(config: TrialConfig) -> dict[str, Any]:
    return {**asdict(config), "parameters": dict(config.parameters)}
