"""Runs training loops of the user's own: what a loop may yield and return, and how it is seeded and continued.

A loop is a generator function, ``training.loop: my_module:train``. It is given a frozen :class:`.trial.Trial`, yields the metrics of each
epoch, and returns those on the test split. Its trials are members of a pack as those of the engine are, trained one after the other.
"""

from __future__ import annotations

import contextlib
import io
import numbers
import pickle
import tempfile
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

from sweeper.custom_code import import_custom
from sweeper.data import Dataset, split
from sweeper.errors import TrainingError
from sweeper.metrics import METRICS
from sweeper.records import (
    EPOCH_FIGURES,
    EpochMetrics,
    Network,
    Predictions,
    TestMetrics,
    TrainingSettings,
    TrialConfig,
)
from sweeper.text import listed, nearest, shown
from sweeper.training.custom_loss import MemberFailure, generators_kept, seed_generators
from sweeper.training.device_data import Split
from sweeper.training.packs import Packs
from sweeper.training.trial import Data, Images, Trial

Figures: TypeAlias = Mapping[str, Any]
Yielded: TypeAlias = Figures | tuple[Figures, Any]
Loop: TypeAlias = Callable[[Trial], Generator[Yielded, None, Figures]]

_TEST_FIGURES = {metric.test_column for metric in METRICS.values()}
_BESIDES = ("logits", "validation_logits", "weights")
"""What a loop may return besides its test metrics."""


@dataclass(slots=True, eq=False)
class _Member:
    """A trial in training. ``state``: what it yielded last, as bytes, and the epochs behind that; ``returned``: its test metrics."""

    config: TrialConfig
    epochs: int = 0
    state: tuple[bytes, int] | None = None
    running: Generator[Yielded, None, Figures] | None = None
    returned: Figures | None = None
    folder: tempfile.TemporaryDirectory[str] | None = None
    index: Mapping[str, npt.NDArray[np.int64]] = field(default_factory=dict)


class Loops:
    """Members of a pack that a training loop of the user's own trains, one after the other: what :class:`.packs.Packs` is to the engine's.

    Raises :class:`TrainingError` where the loop cannot be imported.
    """

    notice: str | None = None

    def __init__(
        self, dataset: Dataset, settings: TrainingSettings, members: Sequence[TrialConfig] = (), device: str | torch.device = "cpu"
    ) -> None:
        self._dataset, self._settings, self._device = dataset, settings, torch.device(device)
        self._path = str(settings.loop)
        try:
            self._loop: Loop = import_custom(self._path)  # type: ignore[assignment]  # what it is was checked with the space
        except (Exception, SystemExit) as error:  # the user's module may raise anything
            raise TrainingError(f"training loop {self._path!r}: cannot be imported: {MemberFailure.of(error).error}") from error
        self._logits_of: dict[str, Split] = {"validation_logits": "validation"} if settings.validation is not None else {}
        self._logits_of["logits"] = "test"
        self._members: dict[str, _Member] = {}
        self._data: tuple[int, Data, Mapping[str, npt.NDArray[np.int64]]] | None = None
        self.add(members)

    def add(self, members: Iterable[TrialConfig]) -> None:
        """Take in new members; each starts before its first epoch."""
        for config in members:
            if config.trial_id in self._members:
                raise TrainingError(f"trial {config.trial_id} is already in the pack")
            self._members[config.trial_id] = _Member(config)

    def remove(self, trial_ids: Iterable[str]) -> None:
        """Close the loops of members and drop them; ids that are not in the pack are passed over."""
        for trial_id in trial_ids:
            member = self._members.pop(trial_id, None)
            if member is None:
                continue
            if member.running is not None:
                with contextlib.suppress(Exception):  # what it raises as it is closed concerns nobody any more
                    member.running.close()
            if member.folder is not None:
                member.folder.cleanup()

    def train_epoch(self) -> dict[str, EpochMetrics | MemberFailure]:
        """The next epoch of each member; one that failed has left the pack afterwards."""
        results: dict[str, EpochMetrics | MemberFailure] = {}
        for trial_id, member in self._members.items():
            try:
                results[trial_id] = self._next_epoch(member)
            except (Exception, SystemExit) as error:  # the user's loop may raise anything: it is this member's failure
                results[trial_id] = MemberFailure.of(error)
        self.remove([trial_id for trial_id, result in results.items() if isinstance(result, MemberFailure)])
        return results

    def state(self, trial_id: str) -> dict[str, npt.NDArray[np.generic]] | None:
        """What the member's loop yielded last as its state, as bytes, and the epochs behind it; ``None`` before it has yielded any."""
        if (state := self._members[trial_id].state) is None:
            return None
        return {"state": np.frombuffer(state[0], np.uint8), "epochs": np.asarray(state[1], np.int64)}

    def restore(self, trial_id: str, state: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """Put a member where :meth:`state` saw it; raises :class:`TrainingError` where the arrays are no loop's."""
        if set(state) != {"state", "epochs"}:
            raise TrainingError(f"the checkpoint of trial {trial_id} is not one of a training loop")
        member, content = self._members[trial_id], state["state"].tobytes()
        try:
            _loaded(content)
        except Exception as error:  # a file that somebody else has written
            raise TrainingError(f"the checkpoint of trial {trial_id} cannot be read: {error}") from error
        member.state, member.epochs = (content, int(state["epochs"])), int(state["epochs"])

    def test(self, trial_id: str) -> TestMetrics:
        """What the member's loop returned as its metrics on the test split, without those that follow from logits."""
        figures = self._of_end(self._members[trial_id])
        columns = {f"test_{name.removeprefix('test_')}": value for name, value in figures.items() if name not in _BESIDES}
        own = {f"test_{name}": columns.pop(f"test_{name}", None) for name in self._settings.own_metrics}
        return TestMetrics(**columns, own=own)

    def logits(self, trial_id: str) -> tuple[Predictions, ...]:
        """What the member's loop returned as logits, of the validation split first; empty where it returned none of the test split."""
        member = self._members[trial_id]
        end = self._of_end(member)
        found = []
        for name, split_name in self._logits_of.items():
            if name in end and "logits" in end:
                index = self._index(member, split_name)
                labels = (self._dataset.train_labels if split_name == "validation" else self._dataset.test_labels)[index]
                found.append(Predictions(split_name, index, labels, end[name]))
        return tuple(found)

    def state_dict(self, trial_id: str) -> dict[str, Tensor]:
        """The weights that the member's loop returned; empty where it returned none."""
        weights: dict[str, Tensor] = self._of_end(self._members[trial_id]).get("weights", {})
        return weights

    def network(self, trial_id: str) -> Network:  # noqa: ARG002  as of a pack, whose members may have several models
        """What is known of the network of a member besides :meth:`state_dict`: the loop alone knows how it is built."""
        data = self._dataset
        height, width = data.train_images.shape[1:3]
        return Network("", {}, (height, width), data.classes, data.mean, data.std)

    def _next_epoch(self, member: _Member) -> EpochMetrics:
        """The next epoch of a member; behind the last one also its test metrics, so that what fails there fails the epoch."""
        began = time.perf_counter()
        epoch, n_epochs = member.epochs + 1, self._settings.epochs
        yielded = self._advance(member, epoch)
        if isinstance(yielded, _Returned):
            raise TrainingError(
                f"training loop {self._path!r} returned after epoch {epoch - 1} of {n_epochs}: it must yield its metrics after every epoch"
            )
        figures, has_state, state = _taken_apart(self._path, yielded)
        metrics = self._metrics(figures, epoch)
        if has_state:
            member.state = _saved(self._path, state, check=member.state is None), epoch
        member.epochs = epoch
        if epoch == n_epochs:
            self._of_end(member)
        return EpochMetrics(**metrics, epoch=epoch, epoch_seconds=time.perf_counter() - began)

    def _of_end(self, member: _Member) -> Figures:
        """What the loop of a member that has trained its last epoch returned, checked; it is run to its end for it."""
        if member.returned is None:
            n_epochs = self._settings.epochs
            end = self._advance(member, member.epochs + 1)
            if not isinstance(end, _Returned):
                raise TrainingError(
                    f"training loop {self._path!r} yielded once more after the last of {n_epochs} epochs: it must return then"
                )
            member.returned = self._checked_end(member, end.value)
        return member.returned

    def _advance(self, member: _Member, epoch: int) -> Yielded | _Returned:
        """What the loop yields or returns next, seeded for ``epoch``; what a loop draws before its first epoch has a seed of its own."""
        with generators_kept(self._device), torch.set_grad_enabled(True):
            seed_generators(f"{member.config.seed}/{epoch if member.running else 'built'}", self._device)
            if member.running is None:
                member.running = self._loop(self._trial(member))
            try:
                return next(member.running)
            except StopIteration as end:
                return _Returned(end.value)

    def _trial(self, member: _Member) -> Trial:
        config = member.config
        member.folder = tempfile.TemporaryDirectory(prefix="sweeper-trial-", ignore_cleanup_errors=True)
        return Trial(
            parameters=MappingProxyType(dict(config.parameters)),
            seed=config.seed,
            device=self._device,
            data=self._data_of(config.seed)[1],
            epochs=self._settings.epochs,
            folder=Path(member.folder.name),
            state=_loaded(member.state[0]) if member.state else None,
            epoch=member.epochs,
        )

    def _data_of(self, seed: int) -> tuple[int, Data, Mapping[str, npt.NDArray[np.int64]]]:
        """The splits of a seed, those of the last one kept: the trials of one search share theirs."""
        if self._data is None or self._data[0] != seed:
            self._data = None  # before the next takes as much memory
            dataset, n_validation = self._dataset, self._settings.validation
            everything = np.arange(len(dataset.train_labels)), np.arange(0)
            train, validation = everything if n_validation is None else split(dataset.train_labels, n_validation, seed)
            index = {"validation": validation, "test": np.arange(len(dataset.test_labels))}
            parts = (
                (dataset.train_images[train], dataset.train_labels[train]),
                (dataset.train_images[validation], dataset.train_labels[validation]),
                (dataset.test_images, dataset.test_labels),
            )
            of_train, of_validation, of_test = (self._images(*part) for part in parts)
            shown_as = of_test if self._settings.evaluate_on == "test" else of_validation
            self._data = seed, Data(of_train, shown_as, of_test, dataset.classes, dataset.mean, dataset.std), index
        return self._data

    def _index(self, member: _Member, split_name: Split) -> npt.NDArray[np.int64]:
        return self._data_of(member.config.seed)[2][split_name]

    def _images(self, images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64]) -> Images:
        mean, std = (torch.tensor(each, device=self._device)[:, None, None] for each in (self._dataset.mean, self._dataset.std))
        on_device = torch.tensor(images, device=self._device).permute(0, 3, 1, 2)  # a copy: the array may be read-only
        return Images(on_device, torch.tensor(labels, device=self._device), mean, std)

    def _metrics(self, figures: Figures, epoch: int) -> dict[str, Any]:
        """The figures of an epoch by column, as the record of an epoch takes them; what the loop did not give is ``None``.

        Raises :class:`TrainingError` for a name that the sweep does not know, for what is no number, and without the search's metric.
        """
        own = [f"val_{name}" for name in self._settings.own_metrics]
        given_besides = [name for name in EPOCH_FIGURES if name not in ("epoch", "epoch_seconds")]
        columns = _columns(self._path, "val", figures, [*given_besides, *own], f"after epoch {epoch}")
        if (wanted := self._settings.metric) not in columns:
            raise TrainingError(
                f"training loop {self._path!r} yielded no {shown(wanted)} after epoch {epoch}, which the search goes by "
                f"(search.metric); it yielded {listed(list(columns)) or 'nothing'}"
            )
        return {**{name: columns.get(name) for name in given_besides}, "own": {name: columns.get(name) for name in own}}

    def _checked_end(self, member: _Member, end: object) -> Figures:
        """What a loop returned, with its numbers by column, and its logits as float32 on the host."""
        if not isinstance(end, Mapping) or not end:
            got = "nothing" if end is None else shown(end)
            raise TrainingError(f"training loop {self._path!r} returned no test metrics: it must return a mapping of them, got {got}")
        figures = {name: value for name, value in end.items() if name not in _BESIDES}
        known = sorted(_TEST_FIGURES | {f"test_{name}" for name in self._settings.own_metrics})
        checked: dict[str, Any] = dict(_columns(self._path, "test", figures, known, "at its end", _BESIDES))
        if not checked and "logits" not in end:
            raise TrainingError(f"training loop {self._path!r} returned no test metrics: it must return some of them, or logits")
        for name, split_name in self._logits_of.items():
            if name in end:
                checked[name] = self._checked_logits(name, end[name], len(self._index(member, split_name)))
        if "weights" in end:
            checked["weights"] = self._checked_weights(end["weights"])
        return checked

    def _checked_logits(self, name: str, given: object, n_images: int) -> Float[npt.NDArray[np.float32], "image cls"]:
        array = np.asarray(given.detach().float().cpu() if isinstance(given, Tensor) else given)
        wanted = (n_images, len(self._dataset.classes))
        if array.shape != wanted or not np.issubdtype(array.dtype, np.number):
            raise TrainingError(
                f"training loop {self._path!r} returned {name} of shape {list(array.shape)}: it must be numbers for "
                f"{wanted[0]} images x {wanted[1]} classes, in the order of the split"
            )
        return array.astype(np.float32)

    def _checked_weights(self, given: object) -> dict[str, Tensor]:
        if not isinstance(given, Mapping) or not all(isinstance(each, Tensor) for each in given.values()):
            raise TrainingError(f"training loop {self._path!r} returned weights that are no mapping of names to tensors (state_dict())")
        return {str(name): tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in given.items()}


@dataclass(frozen=True, slots=True)
class _Returned:
    """What a generator returned."""

    value: object


def make_pack(dataset: Dataset, settings: TrainingSettings, members: Sequence[TrialConfig], device: str | torch.device) -> Packs | Loops:
    """What trains the members of a pack: the engine, or the training loop that the settings name."""
    return (Packs if settings.loop is None else Loops)(dataset, settings, members, device)


def _taken_apart(path: str, yielded: object) -> tuple[Figures, bool, Any]:
    """The metrics of what a loop yielded, whether there is a state beside them, and the state."""
    figures, *states = yielded if isinstance(yielded, tuple) else (yielded,)
    if not isinstance(figures, Mapping) or len(states) > 1:
        raise TrainingError(f"training loop {path!r} yielded {shown(yielded)}: it must yield a mapping of metrics, or (metrics, state)")
    return figures, bool(states) and states[0] is not None, states[0] if states else None


def _columns(path: str, prefix: str, figures: Figures, known: Sequence[str], when: str, besides: Sequence[str] = ()) -> dict[str, float]:
    """Figures by column, whether the loop calls them ``accuracy`` or ``val_accuracy``."""
    columns: dict[str, float] = {}
    for name, value in figures.items():
        column = str(name) if str(name) in known else f"{prefix}_{name}"
        verb = "yielded" if prefix == "val" else "returned"
        if column not in known:
            short = [each.removeprefix(f"{prefix}_") for each in known]
            raise TrainingError(
                f"training loop {path!r} {verb} {shown(name)} {when}, which is no metric of this sweep; "
                f"{nearest(str(name), [*short, *besides])}; one of your own is declared under training.metrics"
            )
        number = value.item() if isinstance(value, Tensor) and value.numel() == 1 else value
        if isinstance(number, bool | np.bool_) or not isinstance(number, numbers.Real):
            raise TrainingError(f"training loop {path!r} {verb} {shown(value)} as {shown(name)} {when}: it must be a number")
        columns[column] = float(number)
    return columns


def _saved(path: str, state: object, *, check: bool) -> bytes:
    """A state as bytes; ``check``: whether to see if it can be read again, which a loop's later states can be as its first."""
    buffer = io.BytesIO()
    rule = "it may hold tensors, numbers, text, lists, tuples and dictionaries: what state_dict() gives"
    try:
        torch.save(state, buffer)
        if check:
            _loaded(buffer.getvalue())
    except (pickle.PicklingError, pickle.UnpicklingError, AttributeError, TypeError, RuntimeError) as error:
        line = next((each for each in str(error).splitlines() if "GLOBAL" in each), str(error).split("\n", 1)[0]).strip()
        raise TrainingError(f"training loop {path!r} yielded a state that cannot be kept: {rule} ({line})") from error
    return buffer.getvalue()


def _loaded(content: bytes) -> Any:
    """A state from its bytes, on the CPU; without running any code that they name."""
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
