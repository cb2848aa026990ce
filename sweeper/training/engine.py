"""Trains a pack of K ≥ 1 members, each a trial of its own, as fused models on one device.

Members with the same seed, epoch, augmentation and batch size share a stream of batches. On the CPU each stream is trained on its own; on a
GPU all streams of one batch size are trained together. A member's curve does not depend on the others in its pack: its numbers are never
summed with theirs, and its random draws are determined by its seed and epoch alone.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Literal, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor, nn

from sweeper.custom_code import is_import_path
from sweeper.data import Dataset
from sweeper.errors import TrainingError
from sweeper.records import VAL_METRICS, Architecture, EpochMetrics, Predictions, TrainingSettings, TrialConfig
from sweeper.training.augment import normalised_levels
from sweeper.training.backend import Backend
from sweeper.training.block import Block, Member
from sweeper.training.build_model import build_model
from sweeper.training.cpu.lanes import Lanes
from sweeper.training.criterion import MemberLoss
from sweeper.training.custom_loss import CustomLoss, MemberFailure, generators_kept
from sweeper.training.custom_model import CustomModel
from sweeper.training.device_data import Chosen, DeviceData, Split
from sweeper.training.evaluate import members_at_once
from sweeper.training.functional import Functional
from sweeper.training.gpu.fused import Fused, Kernels
from sweeper.training.gpu.graph import GraphError, captured
from sweeper.training.gpu.grouped import Grouped, exact_float32
from sweeper.training.gpu.nvrtc import KernelError, device_kernels
from sweeper.training.gpu.proof import noise, problem_with_graphs, problem_with_kernels
from sweeper.training.model import ConvNet, split_rows

__all__ = ["MemberFailure", "Pack", "fused_problem", "graph_problem"]

Stream = TypeVar("Stream", bound=Hashable)
MakeKernels: TypeAlias = Callable[[ConvNet, torch.device], Kernels]
Capture: TypeAlias = Callable[[Callable[[], None]], Callable[[], None]]
_Rows = Float[npt.NDArray[np.float32], "member weight"]

LEAST_REPLAYED = 32
"""Fewest steps of an epoch for which one is captured: capturing it is assumed to take as long as launching some ten."""


NO_BFLOAT16 = "precision bfloat16: the convnet on a CPU computes in float32 alone, where it is faster; take float32, or train on a GPU"


class Pack:
    """K ≥ 1 members on one device, trained an epoch at a time; members may come and go between epochs.

    ``backend``: how, by default what the settings say. ``auto`` is ``lanes`` on the CPU; on a GPU it is ``fused`` for the ConvNet, where
    :func:`fused_problem` finds none, and else ``operators``, which run anywhere. ``fused`` may be given as the function that makes its
    kernels. A model of the user's own runs member by member in the place of ``lanes``, so that company changes no bit of it, and packed in
    the place of ``operators`` if it can be. A loss of the user's own always runs by operators.

    ``capture``: what makes a graph of a training step by operators, ``None`` for none; by default CUDA does on a GPU, where
    :func:`graph_problem` finds none. Steps with a loss of the user's own, or a network that draws random numbers, are never captured.

    ``architecture``: the model of all members, by default that of the settings. ``data``: the images, where another pack has moved them to
    the device already.

    ``notice``: why a pack goes on without the fused kernels, without graphs, or one member after the other, where it could be expected to
    do better; for the user.

    Raises :class:`TrainingError` for an unknown model or loss, for images too small for the model, for a member already present, and for
    ``fused`` where that cannot be had.
    """

    def __init__(
        self,
        dataset: Dataset,
        settings: TrainingSettings,
        members: Sequence[TrialConfig],
        device: str | torch.device = "cpu",
        backend: Literal["auto", "lanes", "operators", "fused"] | MakeKernels | None = None,
        capture: Literal["auto"] | Capture | None = "auto",
        architecture: Architecture | None = None,
        data: DeviceData | None = None,
    ) -> None:
        self._settings = settings
        self._capture = capture
        self._device = torch.device(device)
        self._architecture = architecture or settings.architecture({})
        self.net: ConvNet | CustomModel = build_model(self._architecture, dataset)
        self.notice: str | None = None
        backend = backend or settings.backend
        levels = normalised_levels(dataset.mean, dataset.std)
        on_lanes = backend == "lanes" or (backend == "auto" and self._device.type == "cpu")
        self._backend: Backend
        if isinstance(self.net, CustomModel):
            self._backend = Functional(self.net, levels, self._device, packs=not on_lanes)
            if self._backend.why_alone:
                self.notice = f"training {self._architecture} one member after the other: {self._backend.why_alone}"
        else:
            self._backend = Lanes(self.net, levels) if on_lanes else Grouped(self.net, levels, self._device)
        self.data = DeviceData(dataset, settings, self._backend, self._device) if data is None else data.cut_by(self._backend)
        self._needs_fused = backend == "fused"
        self._fused = self._make_fused(backend, levels)
        self._members: dict[str, Member] = {}
        self.add(members)

    def add(self, members: Iterable[TrialConfig]) -> None:
        """Take in new members; each starts before its first epoch, with the initial weights of its seed."""
        for config in members:
            if config.trial_id in self._members:
                raise TrainingError(f"trial {config.trial_id} is already in the pack")
            name = str(config.parameters["loss"])
            custom, failure = None, None
            if is_import_path(name):
                try:
                    custom = CustomLoss(name, self._settings.of_loss(config.parameters), self._device, config.seed)
                except (Exception, SystemExit) as error:  # the user's module may raise anything: it is this member's failure
                    failure = MemberFailure.of(error)
            if failure is None and (reason := self._unfit(config)):
                failure = MemberFailure.of(TrainingError(reason))
            weights = self.net.initial_weights(config.seed).to(self._device)
            loss = MemberLoss(name, config.parameters, int(config.parameters["batch_size"]), custom)
            augment = str(config.parameters.get("augment", self._settings.policy))
            member = Member(config, loss, weights, torch.zeros_like(weights), self._settings.epochs, augment, failure=failure)
            if member.setting("optimizer") == "adamw":
                member.extra["second_moment"] = torch.zeros_like(weights)
            if isinstance(self.net, CustomModel) and self.net.buffer_shapes:
                member.extra["buffers"] = self.net.initial_buffers(config.seed).to(self._device)
            if self._settings.best_by:
                worst = -math.inf if VAL_METRICS[self._settings.best_by].maximize else math.inf
                member.extra |= {**_to_select(member), "best_value": torch.tensor([worst], dtype=torch.float64)}
            self._members[config.trial_id] = member

    def _unfit(self, config: TrialConfig) -> str | None:
        """Why a trial cannot be trained here, as far as its parameters tell; ``None`` where it can."""
        if config.parameters.get("precision") == "bfloat16" and isinstance(self._backend, Lanes):
            return NO_BFLOAT16
        n_images, batch_size = self.data.n_training_images(config.seed), int(config.parameters["batch_size"])
        if isinstance(self.net, CustomModel) and (n_images % batch_size or batch_size) == 1 and not self.net.learns_from_one_image:
            return (
                f"{self._architecture} cannot learn from a single image (batch normalisation?), and the last batch of each epoch is one: "
                f"{n_images} images in batches of {batch_size}; take another batch_size"
            )
        return None

    def remove(self, trial_ids: Iterable[str]) -> None:
        """Drop members, with their weights; ids that are not in the pack are passed over."""
        for trial_id in trial_ids:
            self._members.pop(trial_id, None)

    @exact_float32()
    def train_epoch(self) -> dict[str, EpochMetrics | MemberFailure]:
        """The next epoch of each live member, evaluated on the sweep's split; a member that failed has left the pack afterwards."""
        started = time.perf_counter()
        present = list(self._members.values())
        learning_rates = {member.config.trial_id: member.next_learning_rate for member in present}
        with self._own_draws(present):
            train = self._train([member for member in present if member.failure is None])
            val = self._evaluate([member for member in present if member.failure is None])
        result: dict[str, EpochMetrics | MemberFailure] = {}
        trained = [member.config.trial_id for member in present if member.failure is None]
        # the one transfer of the epoch, which also waits for the device
        rows = torch.stack([torch.cat([train[trial_id], val[trial_id]]) for trial_id in trained]).tolist() if trained else []
        seconds = (time.perf_counter() - started) / max(1, len(present))
        for trial_id, row in zip(trained, rows, strict=True):
            result[trial_id] = EpochMetrics(
                epoch=self._members[trial_id].epochs,
                **dict(zip(("train_loss", "train_accuracy", *VAL_METRICS), row, strict=True)),
                learning_rate=learning_rates[trial_id],
                epoch_seconds=seconds,
            )
        if self._settings.best_by:
            self._keep_best({trial_id: float(getattr(metrics, self._settings.best_by)) for trial_id, metrics in result.items()})
        failed = {member.config.trial_id: member.failure for member in present if member.failure is not None}
        self.remove(failed)
        return result | failed

    def shapes(self, kind: str) -> dict[str, tuple[int, ...]]:
        """Names and shapes of what a row of this kind (see :meth:`rows`) holds of one member, in the order in which it holds them."""
        if kind in ("buffers", "best_buffers") and isinstance(self.net, CustomModel):
            return dict(self.net.buffer_shapes)
        return {"value": (1,)} if kind == "best_value" else dict(self.net.shapes)

    def rows(self, trial_ids: Sequence[str]) -> dict[str, _Rows]:
        """Weights, velocity and what else the members hold, a row for each, on the host; zeros where a member does not have the kind."""
        members = [_rows_of(self._members[trial_id]) for trial_id in trial_ids]
        kinds = {kind: row for rows in members for kind, row in rows.items()}
        none = {kind: torch.zeros_like(row) for kind, row in kinds.items()}
        return {kind: torch.stack([rows.get(kind, none[kind]) for rows in members]).cpu().numpy() for kind in kinds}

    def module(self, trial_id: str) -> nn.Module:
        """A member's network as a module of PyTorch with what it has learnt, as :meth:`predict` uses it, in eval mode, on the CPU."""
        member = self._selected(trial_id)
        if isinstance(self.net, CustomModel):
            return self.net.trained_module(member.weights, member.extra.get("buffers"))
        return self.net.trained_module(member.weights)

    def state_dict(self, trial_id: str) -> dict[str, Tensor]:
        """What ``load_state_dict(strict=True)`` of a module of the member's network takes: all of its weights and buffers by name."""
        return dict(self.module(trial_id).state_dict())

    def state(self, trial_id: str) -> dict[str, npt.NDArray[np.generic]]:
        """All that a member needs to go on elsewhere: ``weights/<name>``, ``velocity/<name>``, ... and ``epochs``, as plain arrays."""
        arrays: dict[str, npt.NDArray[np.generic]] = {"epochs": np.asarray(self._members[trial_id].epochs, dtype=np.int64)}
        for kind, rows in self.rows([trial_id]).items():
            named = split_rows(torch.from_numpy(rows), self.shapes(kind))
            arrays |= {f"{kind}/{name}": array[0].numpy() for name, array in named.items()}
        return arrays

    def restore(self, trial_id: str, state: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """Put a member where :meth:`state` saw it; raises :class:`TrainingError` where the arrays are not this model's.

        Kinds of rows that the member does not hold are passed over: the file of a pack has them for others.
        """
        member = self._members[trial_id]
        rows = _rows_of(member)
        wanted = {f"{kind}/{name}": shape for kind in rows for name, shape in self.shapes(kind).items()} | {"epochs": ()}
        found = {name: np.shape(array) for name, array in state.items() if name.partition("/")[0] in (*rows, "epochs")}
        if wrong := sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name)):
            raise TrainingError(f"the checkpoint of trial {trial_id} does not fit this model: {', '.join(wrong)}")
        for kind, row in rows.items():
            flat = np.concatenate([np.ravel(state[f"{kind}/{name}"]) for name in self.shapes(kind)])
            rows[kind] = torch.from_numpy(flat).to(row.device, row.dtype)
        member.weights, member.velocity = rows.pop("weights"), rows.pop("velocity")
        member.extra = rows
        member.epochs = int(state["epochs"])

    @exact_float32()
    def predict(self, trial_id: str, split: Split) -> Predictions:
        """Raw logits of a member on a split; ``images`` count in the file order of the split's source (train for validation).

        Its weights are those of its last epoch, or of its best where the settings select that.
        """
        member = self._selected(trial_id)
        (logits,) = self._logits([self._block([member], [0])], [member.config.seed], split)
        return Predictions(
            split=split,
            images=self.data.index(member.config.seed, split).cpu().numpy().copy(),
            labels=self.data.labels([member.config.seed], split)[0].cpu().numpy(),
            logits=logits[0].cpu().numpy(),
        )

    @exact_float32()
    def loss(self, trial_id: str, split: Split) -> float:
        """The trial's own loss on a split; raises :class:`TrainingError` where it is the user's own and fails."""
        member = self._selected(trial_id)
        seeds = [member.config.seed]
        block = self._block([member], [0])
        (logits,) = self._logits([block], seeds, split)
        with self._own_draws([member]):
            value = float(block.evaluate(logits, self.data.labels(seeds, split))[trial_id][0])
        if member.failure is not None:
            raise TrainingError(f"trial {trial_id}: {member.failure.error}\n{member.failure.traceback}")
        return value

    def _selected(self, trial_id: str) -> Member:
        """A member with the weights and buffers of the epoch that is selected."""
        member = self._members[trial_id]
        if not self._settings.best_by:
            return member
        buffers = {"buffers": member.extra["best_buffers"]} if "best_buffers" in member.extra else {}
        return replace(member, weights=member.extra["best_weights"], extra=member.extra | buffers)

    def _keep_best(self, values: Mapping[str, float]) -> None:
        """Keep the weights of the members whose value is better than in all epochs before."""
        metric = VAL_METRICS[str(self._settings.best_by)]
        for trial_id, value in values.items():
            member = self._members[trial_id]
            if math.isfinite(value) and metric.rank(value) > metric.rank(float(member.extra["best_value"])):
                member.extra |= {**_to_select(member), "best_value": torch.tensor([value], dtype=torch.float64)}

    def _own_draws(self, members: Iterable[Member]) -> contextlib.AbstractContextManager[None]:
        """A block in which code of the user's own may draw, each from its own seed; the generators are as before behind it."""
        draws = self._net_draws or any(member.loss.custom for member in members)
        return generators_kept(self._device) if draws else contextlib.nullcontext()

    @property
    def _net_draws(self) -> bool:
        """Whether the network draws random numbers while it trains."""
        return isinstance(self.net, CustomModel) and self.net.draws

    def _train(self, members: Sequence[Member]) -> dict[str, Float[Tensor, " 2"]]:
        """Train the next epoch of each member; its loss and accuracy on the way."""
        figures: dict[str, Tensor] = {}
        fused, others = self._parted(members)
        if self._fused and fused:
            try:
                figures |= self._fused.train(fused)
            except KernelError as error:
                self._give_up_fused(str(error))
                _, others = self._parted(members)
        for streams, blocks in self._fuse(
            others, lambda member: (member.loss.batch_size, member.next_stream), lambda member: member.loss.batch_size
        ):
            (batch_size, *_), *_ = streams
            epoch = self.data.draw([stream for _, stream in streams])
            for block in blocks:
                block.begin(epoch.index.shape[1])
            for part in self.data.parts(epoch, batch_size):
                self._take_steps(blocks, part.batches(batch_size))
            for block in blocks:
                figures |= block.finish()
        if self._device.type != "cpu":  # whose cores have time for it while the device trains what it was given
            self.data.draw_ahead({member.next_stream for member in members})
        return figures

    def _take_steps(self, blocks: Sequence[Block], choices: Sequence[Chosen]) -> None:
        """Train blocks on one batch after the other; those as large as the first by a graph of one step, where that can be had and pays."""

        def step(chosen: Chosen) -> None:
            batch = self.data.training_batch(chosen)
            for block in blocks:
                block.step(batch)

        n_alike = sum(chosen.index.shape == choices[0].index.shape for chosen in choices)
        own = self._net_draws or any(block.calls_own_losses for block in blocks)
        if n_alike >= LEAST_REPLAYED and not own and (capture := self._capture_of_steps()):
            chosen = choices[0].clone()
            try:
                replay = capture(lambda: step(chosen))
            except GraphError as error:
                self._give_up_graphs(str(error))
                choices = choices[1:]
            else:
                for following in choices[1:n_alike]:
                    chosen.copy_(following)
                    replay()
                choices = choices[n_alike:]
        for chosen in choices:
            step(chosen)

    def _evaluate(self, members: Sequence[Member]) -> dict[str, Float[Tensor, " metric"]]:
        """Each metric of each member, the own loss first, on the sweep's split."""
        split = self._settings.evaluate_on
        figures: dict[str, Tensor] = {}
        for part in (part for together in self._evaluated_together(members, split) for part in self._parted(together)):
            for seeds, blocks in self._fuse(part, lambda member: self._split_seed(member, split), lambda _: None):
                labels = self.data.labels(seeds, split)
                for block, logits in zip(blocks, self._logits(blocks, seeds, split), strict=True):
                    figures |= block.evaluate(logits, labels)
        return figures

    def _evaluated_together(self, members: Sequence[Member], split: Split) -> Iterable[Sequence[Member]]:
        """Parts of the members, of which the device can hold all logits and what is made of them; on the CPU blocks are small anyway."""
        if self._device.type == "cpu" or not members:
            return [members]
        by_stream = sorted(members, key=lambda member: self._split_seed(member, split))
        most = members_at_once(len(self.data.index(by_stream[0].config.seed, split)), self.net.n_classes)
        return [by_stream[start : start + most] for start in range(0, len(by_stream), most)]

    def _logits(self, blocks: Sequence[Block], seeds: Sequence[int], split: Split) -> list[Float[Tensor, "member image cls"]]:
        """Raw logits of the members of each block on a split in file order; the kernels take all of these members, or none."""
        if self._fused and self._fused.takes(blocks[0].members[0]):
            try:
                return [
                    self._fused.logits(block.members, [self._split_seed(each, split) for each in block.members], split) for block in blocks
                ]
            except KernelError as error:
                self._give_up_fused(str(error))
        largest = max(block.activation_bytes for block in blocks)
        batches = [[block.logits(batch) for block in blocks] for batch in self.data.evaluation_batches(seeds, split, largest)]
        return [torch.cat(of_block, 1) for of_block in zip(*batches, strict=True)]

    def _fuse(
        self, members: Iterable[Member], stream_of: Callable[[Member], Stream], lane_of: Callable[[Member], Hashable]
    ) -> Iterator[tuple[list[Stream], list[Block]]]:
        """Blocks that run side by side on the same batches, and the streams that each batch must hold for them.

        A backend that mixes streams runs a whole lane side by side, another one stream at a time.
        """
        mixes, most = self._backend.mixes_streams, self._backend.max_members
        lanes: dict[Hashable, list[Member]] = {}
        for member in sorted(members, key=lambda member: member.loss.kind):
            lanes.setdefault((member.kind, lane_of(member) if mixes else stream_of(member)), []).append(member)
        for lane in lanes.values():
            streams = list(dict.fromkeys(map(stream_of, lane)))
            n_blocks = math.ceil(len(lane) / (most or len(lane)))
            parts = [lane[len(lane) * i // n_blocks : len(lane) * (i + 1) // n_blocks] for i in range(n_blocks)]
            yield streams, [self._block(part, [streams.index(stream_of(member)) for member in part]) for part in parts]

    def _parted(self, members: Sequence[Member]) -> tuple[list[Member], list[Member]]:
        """The members that the fused kernels take, and the others."""
        fused = [member for member in members if self._fused and self._fused.takes(member)]
        taken = {member.config.trial_id for member in fused}
        return fused, [member for member in members if member.config.trial_id not in taken]

    def _make_fused(self, backend: str | MakeKernels, levels: Float[Tensor, "channel 256"]) -> Fused | None:
        """What trains with fused kernels, where ``backend`` wants it and it can be had."""
        make = backend if callable(backend) else device_kernels
        net, on_gpu = self.net, self._device.type == "cuda"
        if backend == "fused" and not (on_gpu and isinstance(net, ConvNet)):
            found = f"model {self._architecture.name} on {self._device.type}"
            raise TrainingError(f"backend fused trains the convnet on a GPU, got {found}; take auto")
        wanted = callable(backend) or backend == "fused" or (backend == "auto" and on_gpu)
        if not (wanted and isinstance(net, ConvNet)):
            return None
        if make is device_kernels and (problem := fused_problem(make, net, self._device)):
            self._give_up_fused(problem)
            return None
        return Fused(net, levels, self._settings, self.data, make(net, self._device))

    def _give_up_fused(self, reason: str) -> None:
        """Go on with PyTorch's operators, or not if the fused kernels were asked for; what members have learnt is theirs."""
        if self._needs_fused:
            raise TrainingError(f"backend fused: {reason}; auto goes on with PyTorch's operators")
        self._fused = None
        self.notice = f"training with PyTorch's operators, since the fused kernels cannot be used: {reason}"

    def _capture_of_steps(self) -> Capture | None:
        """What makes a graph of a step by operators; ``None`` where each of them is launched by itself."""
        if self._capture == "auto":
            self._capture = None
            if self._device.type == "cuda":
                shape, n_classes = self.data.image_shape, self.net.n_classes
                if problem := graph_problem(captured, self._architecture, shape, n_classes, self._device):
                    self._give_up_graphs(problem)
                else:
                    self._capture = captured
        return self._capture

    def _give_up_graphs(self, reason: str) -> None:
        """Launch operators one by one from here on; what members have learnt is theirs."""
        self._capture = None
        said = f"launching PyTorch's operators one by one, since no CUDA graph of a step can be used: {reason}"
        self.notice = f"{self.notice}; {said}" if self.notice else said

    def _block(self, members: Sequence[Member], streams: Sequence[int]) -> Block:
        """Members fused into one model; ``streams`` are the rows of the batches that they read."""
        return Block(members, streams, self.net, self._backend, self._settings.reduction)

    def _split_seed(self, member: Member, split: Split) -> int:
        """The seed that the split depends on: that of the member for validation, any for test."""
        return member.config.seed if split == "validation" else 0


def _rows_of(member: Member) -> dict[str, Tensor]:
    """Flat rows of all that a member has learnt, by kind."""
    return {"weights": member.weights, "velocity": member.velocity, **member.extra}


def _to_select(member: Member) -> dict[str, Tensor]:
    """What is kept of a member's best epoch, by kind."""
    return {f"best_{kind}": row for kind, row in _rows_of(member).items() if kind in ("weights", "buffers")}


@cache
def fused_problem(make: MakeKernels, net: ConvNet, device: torch.device) -> str | None:
    """Why the fused kernels cannot be trusted with this network on this device; ``None`` where they can. See :mod:`.gpu.proof`."""
    return problem_with_kernels(lambda dataset, settings, members, backend: Pack(dataset, settings, members, device, backend), make, net)


@cache
def graph_problem(capture: Capture, model: Architecture, shape: tuple[int, int], n_classes: int, device: torch.device) -> str | None:
    """Why graphs of steps cannot be trusted with this model on images of this height and width; ``None`` where they can."""

    def pack_of(dataset: Dataset, settings: TrainingSettings, members: Sequence[TrialConfig], capture: Capture | None) -> Pack:
        return Pack(dataset, settings, members, device, "operators", capture, model)

    return problem_with_graphs(pack_of, capture, model.name, noise(*shape, n_classes))
