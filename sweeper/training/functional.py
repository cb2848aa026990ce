"""The fused model of a custom module: all members in one call of ``torch.func.vmap`` if possible, otherwise one after the other."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sweeper.training.custom_loss import seed_generators
from sweeper.training.custom_model import CustomModel
from sweeper.training.gpu.grouped import DeviceCut, autocast
from sweeper.training.model import split_rows


class Functional(DeviceCut):
    """Blocks of any number of members where ``packs`` asks for it and the model can be packed, else of one.

    Alone a member's sums have one order, whatever trains beside it; packed they differ in the last bits. ``why_alone``: why members go one
    after the other although ``packs`` asks for more.
    """

    def __init__(self, model: CustomModel, levels: Float[Tensor, "channel 256"], device: torch.device, *, packs: bool) -> None:
        super().__init__(levels, device)
        self._model = model
        self.why_alone = model.reason_against_packing() if packs else None
        self.mixes_streams = packs and self.why_alone is None
        model.to(device)
        self.max_members: int | None = None if self.mixes_streams else 1

    def network(
        self,
        weights: Float[Tensor, "member weight"],
        streams: Sequence[int],
        precision: str = "float32",
        buffers: Float[Tensor, "member buffer"] | None = None,
        epochs: Sequence[tuple[int, int]] = (),
    ) -> FunctionalNetwork:
        """A fused model of these weights and buffers, whose member i reads row ``streams[i]`` of the batches."""
        rows = torch.tensor(streams, device=self._shift.device) if len(set(streams)) > 1 else None
        return FunctionalNetwork(self._model, weights, rows, precision, buffers, epochs)


class FunctionalNetwork:
    """Members of one model; ``streams`` is ``None`` when all of them read the only row of each batch.

    ``epochs``: seed and number of the epoch of each member, from which, with the number of the step, its random numbers follow.
    """

    def __init__(
        self,
        model: CustomModel,
        weights: Float[Tensor, "member weight"],
        streams: Int[Tensor, " member"] | None,
        precision: str,
        buffers: Float[Tensor, "member buffer"] | None,
        epochs: Sequence[tuple[int, int]],
    ) -> None:
        self._model = model
        self._tensors = {name: tensor.requires_grad_() for name, tensor in model.split(weights.detach()).items()}
        self._buffers = buffers if buffers is not None and model.buffer_shapes else None
        self._n_members = len(weights)
        self._streams = streams
        self._precision = precision
        self._epochs = epochs
        self._step = 0
        self._logits = torch.empty(0)

    def forward(self, images: Float[Tensor, "stream batch channel height width"], n_images: int) -> Float[Tensor, "member batch cls"]:  # noqa: ARG002
        """Raw logits of every member in train mode; its buffers change."""
        self._step += 1
        with torch.enable_grad(), autocast(self._precision, images.device):
            logits, after = self._run(images, training=True)
            self._logits = logits.float()
        if self._buffers is not None:
            for name, row in split_rows(self._buffers, self._model.buffer_shapes).items():
                row.copy_(after[name].detach())
        return self._logits.detach()

    def logits(self, images: Float[Tensor, "stream batch channel height width"], n_images: int) -> Float[Tensor, "member batch cls"]:  # noqa: ARG002
        """Raw logits of every member in eval mode, without a graph."""
        with torch.no_grad(), autocast(self._precision, images.device):
            return self._run(images, training=False)[0].float()

    def backward(self, gradient: Float[Tensor, "member batch cls"]) -> Float[Tensor, "member weight"]:
        """Gradient of every weight, from that of the logits; zero for weights that the logits do not depend on."""
        tensors = list(self._tensors.values())
        pieces = torch.autograd.grad(self._logits, tensors, gradient, allow_unused=True)
        filled = [torch.zeros_like(tensor) if piece is None else piece for tensor, piece in zip(tensors, pieces, strict=True)]
        return torch.cat([piece.flatten(1) for piece in filled], 1)

    def _run(
        self, images: Float[Tensor, "stream batch channel height width"], *, training: bool
    ) -> tuple[Float[Tensor, "member batch cls"], dict[str, Tensor]]:
        """Raw logits of every member, under autograd where it is enabled, and its buffers afterwards."""
        images = images.contiguous()
        tensors = dict(self._tensors)
        if self._buffers is not None:  # copies: autograd would take a change of one for a change of all views of a row
            tensors |= self._model.split_buffers(self._buffers)
        if self._n_members == 1:
            if training and self._model.draws:
                seed_generators("/".join(map(str, (*self._epochs[0], self._step, "network"))), images.device)
            logits, after = self._model({name: tensor[0] for name, tensor in tensors.items()}, images[0], training=training)
            return logits[None], {name: tensor[None] for name, tensor in after.items()}
        if self._streams is None:
            return self._model.packed(tensors, images[0], training=training, shared=True)
        return self._model.packed(tensors, images[self._streams], training=training, shared=False)
