"""The ConvNet with a member axis: K networks of the same shape, each a row of one weight matrix, run side by side.

Its shapes can be asked for without loading PyTorch: the driver of a sweep does.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Protocol

from jaxtyping import Float

from sweeper.errors import ModelError
from sweeper.records import Value

if TYPE_CHECKING:
    from torch import Tensor, nn

CHANNELS = (3, 4, 8)
"""Channels of the image and of both convolutions."""

KERNEL = 3
POOL = 2
HIDDEN = 32


class Model(Protocol):
    """What the engine asks of a network: its weights as flat rows, one per member."""

    @property
    def n_classes(self) -> int:
        """Width of the logits."""
        ...

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Shape of each weight tensor of one member by name, in the order of the flat row."""
        ...

    @property
    def activation_bytes(self) -> int:
        """Bytes that an image and what one member makes of it hold, if nothing is freed before the logits are there."""
        ...

    def initial_weights(self, seed: int) -> Float[Tensor, " weight"]:
        """Flat initial weights of one member, on the CPU; the seed alone decides them."""
        ...

    def split(self, weights: Float[Tensor, "member weight"]) -> dict[str, Tensor]:
        """Views of the flat rows: each weight tensor by name, with the member axis first."""
        ...


@dataclass(frozen=True, slots=True)
class ConvNet:
    """Conv 3-4 k3, ReLU, max-pool 2; conv 4-8 k3, ReLU, max-pool 2; linear to 32, ReLU; linear to ``n_classes``.

    On 32 × 32 images with ten classes it has 9,986 weights. Raises :class:`ModelError` for images too small for two poolings.
    """

    height: int
    width: int
    n_classes: int

    def __post_init__(self) -> None:
        if min(self.pooled_sizes[1]) < 1:
            smallest = POOL * (POOL + KERNEL - 1) + KERNEL - 1
            raise ModelError(
                f"model convnet needs images of at least {smallest} x {smallest} pixels, got {self.height} x {self.width}; "
                "resize the images or choose another data set"
            )

    @property
    def pooled_sizes(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Height and width after each pooling."""
        first = ((self.height - KERNEL + 1) // POOL, (self.width - KERNEL + 1) // POOL)
        return first, ((first[0] - KERNEL + 1) // POOL, (first[1] - KERNEL + 1) // POOL)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each weight tensor of one member by name, in the order of ``nn.Module.named_parameters`` and of the flat row."""
        rows, columns = self.pooled_sizes[1]
        return {
            "conv1.weight": (CHANNELS[1], CHANNELS[0], KERNEL, KERNEL),
            "conv1.bias": (CHANNELS[1],),
            "conv2.weight": (CHANNELS[2], CHANNELS[1], KERNEL, KERNEL),
            "conv2.bias": (CHANNELS[2],),
            "fc1.weight": (HIDDEN, CHANNELS[2] * rows * columns),
            "fc1.bias": (HIDDEN,),
            "fc2.weight": (self.n_classes, HIDDEN),
            "fc2.bias": (self.n_classes,),
        }

    @property
    def n_weights(self) -> int:
        """Weights of one member: 9,986 on CIFAR-10."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    @property
    def activation_bytes(self) -> int:
        """Bytes of an image, both convolutions, their poolings with and without ReLU, and the linear layers: 41,896 on CIFAR-10."""
        sizes = (self.height, self.width), *self.pooled_sizes
        convolved = sum(CHANNELS[n] * (rows - KERNEL + 1) * (columns - KERNEL + 1) for n, (rows, columns) in enumerate(sizes[:2], 1))
        pooled = sum(CHANNELS[n] * math.prod(sizes[n]) for n in (1, 2))
        return 4 * (CHANNELS[0] * math.prod(sizes[0]) + convolved + 2 * pooled + 2 * HIDDEN + self.n_classes)

    def initial_weights(self, seed: int) -> Float[Tensor, " weight"]:
        """Flat initial weights of one member, on the CPU: those of PyTorch's layers built in order after ``torch.manual_seed(seed)``."""
        import torch
        from torch import nn

        generator = torch.Generator().manual_seed(seed)
        drawn = []
        bound = 0.0
        for name, shape in self.shapes.items():
            tensor = torch.empty(shape)
            if name.endswith("weight"):
                nn.init.kaiming_uniform_(tensor, a=math.sqrt(5), generator=generator)
                bound = 1 / math.sqrt(math.prod(shape[1:]))
            else:
                nn.init.uniform_(tensor, -bound, bound, generator=generator)
            drawn.append(tensor.flatten())
        return torch.cat(drawn)

    def split(self, weights: Float[Tensor, "member weight"]) -> dict[str, Tensor]:
        """Views of the flat rows: each weight tensor by name, with the member axis first."""
        return split_rows(weights, self.shapes)

    @property
    def arguments(self) -> dict[str, Value | None]:
        """What it takes to build one like it."""
        return asdict(self)

    @property
    def layers(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """The same network of PyTorch's own layers, one after the other: the class in ``torch.nn`` and its arguments, by name."""
        return {
            "conv1": ("Conv2d", (CHANNELS[0], CHANNELS[1], KERNEL)),
            "relu1": ("ReLU", ()),
            "pool1": ("MaxPool2d", (POOL,)),
            "conv2": ("Conv2d", (CHANNELS[1], CHANNELS[2], KERNEL)),
            "relu2": ("ReLU", ()),
            "pool2": ("MaxPool2d", (POOL,)),
            "flatten": ("Flatten", ()),
            "fc1": ("Linear", (CHANNELS[2] * math.prod(self.pooled_sizes[1]), HIDDEN)),
            "relu3": ("ReLU", ()),
            "fc2": ("Linear", (HIDDEN, self.n_classes)),
        }

    def module(self) -> nn.Module:
        """The same network as a module, with weights of its own."""
        from torch import nn

        return nn.Sequential(OrderedDict((name, getattr(nn, kind)(*sizes)) for name, (kind, sizes) in self.layers.items()))

    def trained_module(self, weights: Float[Tensor, " weight"]) -> nn.Module:
        """One member as a module of PyTorch's own layers, in eval mode, on the CPU."""
        module = self.module()
        module.load_state_dict({name: tensor[0] for name, tensor in self.split(weights[None].cpu()).items()})
        return module.eval()


def split_rows(weights: Float[Tensor, "member weight"], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Views of flat rows as tensors of these shapes, with the member axis first."""
    import torch

    pieces = torch.split(weights, [math.prod(shape) for shape in shapes.values()], dim=1)
    return {name: piece.view(-1, *shape) for (name, shape), piece in zip(shapes.items(), pieces, strict=True)}
