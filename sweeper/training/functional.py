"""The fused model of a custom module: all members in one call of ``torch.func.vmap`` if possible, otherwise one after the other."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sweeper.training.custom_model import CustomModel
from sweeper.training.gpu.grouped import DeviceCut, autocast


class Functional(DeviceCut):
    """Blocks of any number of members where ``packs`` asks for it and the model can be packed, else of one.

    Alone a member's sums have one order, whatever trains beside it; packed they differ in the last bits.
    """

    def __init__(self, model: CustomModel, levels: Float[Tensor, "channel 256"], device: torch.device, *, packs: bool) -> None:
        super().__init__(levels, device)
        self._model = model
        self.mixes_streams = packs and model.can_be_packed()
        model.to(device)
        self.max_members: int | None = None if self.mixes_streams else 1

    def network(self, weights: Float[Tensor, "member weight"], streams: Sequence[int], precision: str) -> FunctionalNetwork:
        """A fused model of these weights, whose member i reads row ``streams[i]`` of the batches."""
        rows = torch.tensor(streams, device=self._shift.device) if len(set(streams)) > 1 else None
        return FunctionalNetwork(self._model, weights, rows, precision)


class FunctionalNetwork:
    """Members of one model; ``streams`` is ``None`` when all of them read the only row of each batch."""

    def __init__(
        self, model: CustomModel, weights: Float[Tensor, "member weight"], streams: Int[Tensor, " member"] | None, precision: str
    ) -> None:
        self._model = model
        self._tensors = {name: tensor.requires_grad_() for name, tensor in model.split(weights.detach()).items()}
        self._n_members = len(weights)
        self._streams = streams
        self._precision = precision
        self._logits = torch.empty(0)

    def forward(self, images: Float[Tensor, "stream batch channel height width"], n_images: int) -> Float[Tensor, "member batch cls"]:  # noqa: ARG002
        """Raw logits of every member."""
        with torch.enable_grad(), autocast(self._precision, images.device):
            self._logits = self._run(images).float()
        return self._logits.detach()

    def logits(self, images: Float[Tensor, "stream batch channel height width"], n_images: int) -> Float[Tensor, "member batch cls"]:  # noqa: ARG002
        """As :meth:`forward`, without a graph."""
        with torch.no_grad(), autocast(self._precision, images.device):
            return self._run(images).float()

    def backward(self, gradient: Float[Tensor, "member batch cls"]) -> Float[Tensor, "member weight"]:
        """Gradient of every weight, from that of the logits; zero for weights that the logits do not depend on."""
        tensors = list(self._tensors.values())
        pieces = torch.autograd.grad(self._logits, tensors, gradient, allow_unused=True)
        filled = [torch.zeros_like(tensor) if piece is None else piece for tensor, piece in zip(tensors, pieces, strict=True)]
        return torch.cat([piece.flatten(1) for piece in filled], 1)

    def _run(self, images: Float[Tensor, "stream batch channel height width"]) -> Float[Tensor, "member batch cls"]:
        """Raw logits of every member, under autograd where it is enabled."""
        images = images.contiguous()
        if self._n_members == 1:
            return self._model({name: tensor[0] for name, tensor in self._tensors.items()}, images[0])[None]
        if self._streams is None:
            return self._model.packed(self._tensors, images[0], shared=True)
        return self._model.packed(self._tensors, images[self._streams], shared=False)
