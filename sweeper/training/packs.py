"""Members of several models on one device: a :class:`.engine.Pack` for each model with its arguments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from sweeper.data import Dataset
from sweeper.errors import TrainingError
from sweeper.records import Architecture, EpochMetrics, Network, Predictions, TrainingSettings, TrialConfig
from sweeper.training.custom_loss import MemberFailure
from sweeper.training.device_data import DeviceData, Split
from sweeper.training.engine import Pack


class Packs:
    """What a :class:`.engine.Pack` is for one model, for the models that its members name; they share the images on the device.

    A model that cannot be built is a failure of the members that name it. Raises :class:`TrainingError` as :class:`.engine.Pack`, where
    all members have the model of the settings.
    """

    def __init__(self, dataset: Dataset, settings: TrainingSettings, members: Sequence[TrialConfig], device: str | torch.device) -> None:
        self._dataset, self._settings, self._device = dataset, settings, device
        self._packs: dict[Architecture, Pack] = {}
        self._data: DeviceData | None = None
        self._architectures: dict[str, Architecture] = {}
        self._failures: dict[str, MemberFailure | EpochMetrics] = {}
        if not settings.names_models:
            self._pack_of(settings.architecture({}))
        self.add(members)

    @property
    def notice(self) -> str | None:
        """What the packs have to tell the user."""
        return "; ".join(dict.fromkeys(pack.notice for pack in self._packs.values() if pack.notice)) or None

    def add(self, members: Iterable[TrialConfig]) -> None:
        """Take in new members, each before its first epoch."""
        for config in members:
            if config.trial_id in self._architectures:
                raise TrainingError(f"trial {config.trial_id} is already in the pack")
            architecture = self._settings.architecture(config.parameters)
            try:
                self._pack_of(architecture).add([config])
            except TrainingError as error:
                self._failures[config.trial_id] = MemberFailure.of(error)
            else:
                self._architectures[config.trial_id] = architecture

    def remove(self, trial_ids: Iterable[str]) -> None:
        """Drop members, and models that none of the others has; ids that are not there are passed over."""
        for trial_id in trial_ids:
            if (architecture := self._architectures.pop(trial_id, None)) is not None:
                self._packs[architecture].remove([trial_id])
        if self._settings.names_models:
            for architecture in self._packs.keys() - set(self._architectures.values()):
                del self._packs[architecture]

    def train_epoch(self) -> dict[str, EpochMetrics | MemberFailure]:
        """The next epoch of each member; one that failed has left afterwards."""
        results, self._failures = self._failures, {}
        for architecture in dict.fromkeys(self._architectures.values()):
            results |= self._packs[architecture].train_epoch()
        self.remove([trial_id for trial_id, result in results.items() if isinstance(result, MemberFailure)])
        return results

    def parts(self, trial_ids: Sequence[str]) -> list[tuple[Pack, list[str]]]:
        """These members by their packs, each of which holds rows of other shapes."""
        parts: dict[Architecture, list[str]] = {}
        for trial_id in trial_ids:
            parts.setdefault(self._architectures[trial_id], []).append(trial_id)
        return [(self._packs[architecture], ids) for architecture, ids in parts.items()]

    def state(self, trial_id: str) -> dict[str, npt.NDArray[np.generic]]:
        """As :meth:`.engine.Pack.state`."""
        return self._pack_with(trial_id).state(trial_id)

    def restore(self, trial_id: str, state: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """As :meth:`.engine.Pack.restore`."""
        self._pack_with(trial_id).restore(trial_id, state)

    def predict(self, trial_id: str, split: Split) -> Predictions:
        """As :meth:`.engine.Pack.predict`."""
        return self._pack_with(trial_id).predict(trial_id, split)

    def loss(self, trial_id: str, split: Split) -> float:
        """As :meth:`.engine.Pack.loss`."""
        return self._pack_with(trial_id).loss(trial_id, split)

    def module(self, trial_id: str) -> nn.Module:
        """As :meth:`.engine.Pack.module`."""
        return self._pack_with(trial_id).module(trial_id)

    def state_dict(self, trial_id: str) -> dict[str, Tensor]:
        """As :meth:`.engine.Pack.state_dict`."""
        return self._pack_with(trial_id).state_dict(trial_id)

    def network(self, trial_id: str) -> Network:
        """What it takes, besides :meth:`state_dict`, to use the network of a member elsewhere."""
        data, model = self._dataset, self._pack_with(trial_id).net
        height, width = data.train_images.shape[1:3]
        name = self._architectures[trial_id].name
        return Network(name, model.arguments, (height, width), data.classes, data.mean, data.std)

    def _pack_with(self, trial_id: str) -> Pack:
        if trial_id not in self._architectures:
            raise TrainingError(f"trial {trial_id} is not in the pack")
        return self._packs[self._architectures[trial_id]]

    def _pack_of(self, architecture: Architecture) -> Pack:
        if architecture not in self._packs:
            pack = Pack(self._dataset, self._settings, [], self._device, architecture=architecture, data=self._data)
            self._packs[architecture], self._data = pack, pack.data
        return self._packs[architecture]


def as_arrays(tensors: Mapping[str, Tensor]) -> dict[str, npt.NDArray[Any]]:
    """Tensors as arrays on the host; those of bfloat16, which NumPy has not, in float32, which holds the same numbers."""
    on_host = {name: each.detach().cpu() for name, each in tensors.items()}
    return {name: (each.float() if each.dtype == torch.bfloat16 else each).numpy() for name, each in on_host.items()}
