"""How a device holds batches and runs a fused model: :mod:`.lanes` on the CPU, :mod:`.grouped` on any other device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor


class Network(Protocol):
    """The fused model of some members, on weights that others may change; it keeps what backward needs of the latest forward."""

    def forward(self, images: Tensor, n_images: int) -> Float[Tensor, "member batch cls"]:
        """Raw logits of every member in training; ``images`` as the backend's ``cut`` made them, ``n_images`` in each stream.

        They hold no graph. A network with buffers changes them, in the memory that :meth:`Backend.network` was given.
        """
        ...

    def logits(self, images: Tensor, n_images: int) -> Float[Tensor, "member batch cls"]:
        """As :meth:`forward`, in evaluation, where no backward follows: nothing is kept for one, and nothing changes."""
        ...

    def backward(self, gradient: Float[Tensor, "member batch cls"]) -> Float[Tensor, "member weight"]:
        """Gradient of every weight, from that of the logits; good until the next call, which may use its memory again."""
        ...


class Backend(Protocol):
    """A way to cut batches out of resident images and to train members on them."""

    max_members: int | None
    """Members of one block; ``None`` for any number."""

    mixes_streams: bool
    """Whether members of one block may read different streams."""

    def cut(
        self,
        images: UInt8[Tensor, "image height width channel"],
        chosen: Int[Tensor, "stream batch"],
        offsets: Int[Tensor, "stream batch 2"] | None,
        flips: Bool[Tensor, "stream batch"] | None,
    ) -> Tensor:
        """The chosen images, cropped and flipped where draws are given, and normalised, for :meth:`Network.forward`.

        Good until the next call, which may use its memory again.
        """
        ...

    def network(
        self,
        weights: Float[Tensor, "member weight"],
        streams: Sequence[int],
        precision: str = "float32",
        buffers: Float[Tensor, "member buffer"] | None = None,
        epochs: Sequence[tuple[int, int]] = (),
    ) -> Network:
        """A fused model of these weights, whose member i reads row ``streams[i]`` of the batches.

        ``precision``: ``float32``, or ``bfloat16`` for that of operators under autocast; weights, logits and gradients are float32.
        ``buffers`` and ``epochs`` (seed and number of each member's epoch) are for models of the user's own, which may hold more than
        weights and draw random numbers.
        """
        ...
