"""Models as a user would write them, sound and broken, for the tests of import paths."""

import random

import torch
import torch.nn.functional as F
from torch import nn


class Residual(nn.Module):
    """A small residual network; its two halves share one layer, and a scale is fixed."""

    def __init__(self, n_classes, height=32, width=32, channels=6):
        super().__init__()
        self.stem = nn.Conv2d(3, channels, 3, stride=2, padding=1)
        self.norm = nn.GroupNorm(2, channels)
        self.body = nn.Conv2d(channels, channels, 3, padding=1)
        self.head = nn.Linear(channels, n_classes)
        self.register_buffer("scale", torch.tensor(0.5))
        self.wide = width > 20

    def forward(self, x):
        x = F.gelu(self.norm(self.stem(x)))
        x = x + self.scale * F.relu(self.body(x))
        x = x + self.scale * F.relu(self.body(x))
        return self.head(x.mean((2, 3)))


def mlp(num_classes, height, width):
    """A function that builds a model, with layers that size themselves."""
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(16), nn.Tanh(), nn.Linear(16, num_classes))


class Branching(nn.Module):
    """Decides by values, which no vmap can follow."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(3, 10)
        self.spare = nn.Linear(3, 2)

    def forward(self, x):
        x = x.mean((2, 3))
        return self.head(x) if self.head.weight.sum() > -1e9 else self.head(-x)


class Linear(nn.Module):
    """The base of models that break one rule each."""

    def __init__(self, n_classes):
        super().__init__()
        self.head = nn.Linear(3, n_classes)

    def features(self, x):
        return x.mean((2, 3))

    def forward(self, x):
        return self.head(self.features(x))


class FrozenFeatures(Linear):
    """Frozen weights that are the same for all."""

    def __init__(self, n_classes):
        super().__init__(n_classes)
        self.mix = nn.Parameter(torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.5, 0.5]]), requires_grad=False)

    def features(self, x):
        return x.mean((2, 3)) @ self.mix


class Normalised(nn.Module):
    """Batch normalisation, as most networks have it."""

    def __init__(self, n_classes, channels=6):
        super().__init__()
        self.stem = nn.Conv2d(3, channels, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(channels)
        self.body = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(channels)
        self.head = nn.Linear(channels, n_classes)

    def forward(self, x):
        x = F.relu(self.norm(self.stem(x)))
        x = x + self.branch(F.relu(self.norm2(self.body(x))))
        return self.head(x.mean((2, 3)))

    def branch(self, x):
        return x


class Dropped(Normalised):
    """Batch normalisation, dropout, and a branch that is left out of whole images at random."""

    def branch(self, x):
        if not self.training:
            return F.dropout(x, 0.3, training=False)
        kept = torch.rand(len(x), 1, 1, 1, device=x.device) < 0.8
        return F.dropout(x, 0.3) * kept / 0.8


class NormalisedFeatures(nn.Module):
    """Batch normalisation of one number per image, which a batch of one image does not have."""

    def __init__(self, n_classes):
        super().__init__()
        self.norm = nn.BatchNorm1d(3)
        self.head = nn.Linear(3, n_classes)

    def forward(self, x):
        return self.head(self.norm(x.mean((2, 3))))


class Widened(nn.Module):
    """A network with a width of its own, which is not that of images."""

    def __init__(self, n_classes, width=5):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, width), nn.ReLU(), nn.Linear(width, n_classes))

    def forward(self, x):
        return self.layers(x.mean((2, 3)))


class TenForAll(Linear):
    def __init__(self):
        super().__init__(10)


class ElevenForAll(Linear):
    def __init__(self):
        super().__init__(11)


class WithExtras(Linear):
    def forward(self, x):
        return super().forward(x), x


class Double(Linear):
    def __init__(self, n_classes):
        super().__init__(n_classes)
        self.double()

    def features(self, x):
        return super().features(x).double()


class Half(Linear):
    def forward(self, x):
        return super().forward(x).half()


class DroppingAlways(Linear):
    def features(self, x):
        return F.dropout(super().features(x), 0.1, training=True)


class Counting(Linear):
    def __init__(self, n_classes):
        super().__init__(n_classes)
        self.register_buffer("calls", torch.zeros(()))

    def features(self, x):
        self.calls += 1
        return super().features(x)


class CountingSteps(Linear):
    """Puts another tensor in the place of its buffer."""

    def __init__(self, n_classes):
        super().__init__(n_classes)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def features(self, x):
        if self.training:
            self.calls = self.calls + 1
        return super().features(x) * (1 + 0.1 / (1 + self.calls))


class AddingInDouble(Linear):
    def __init__(self, n_classes):
        super().__init__(n_classes)
        self.register_buffer("total", torch.zeros((), dtype=torch.float64))

    def features(self, x):
        if self.training:
            self.total += x.mean()
        return super().features(x)


class Remembering(Linear):
    """Keeps a number that is neither weight nor buffer."""

    n_calls = 0

    def features(self, x):
        self.n_calls += 1
        return super().features(x) * self.n_calls


class Anything(nn.Module):
    """Takes what it is given, as torchvision's builders do."""

    def __init__(self, weights=None, **kwargs):
        super().__init__()
        self.body = Residual(**{"n_classes": 1000, "channels": 6, **kwargs})

    def forward(self, x):
        return self.body(x)


class Comparing(Linear):
    def features(self, x):
        return super().features(x) - super().features(x).mean(0)


class TwoFaced(Linear):
    def features(self, x):
        return super().features(x) * (1 if self.training else 2)


class Detached(Linear):
    def forward(self, x):
        return super().forward(x).detach()


class Unseeded(Linear):
    def __init__(self, n_classes):
        super().__init__(n_classes)
        nn.init.constant_(self.head.bias, random.random())


class OtherEachTime(Linear):
    n_built = 0

    def __init__(self, n_classes):
        super().__init__(n_classes)
        OtherEachTime.n_built += 1
        self.extra = nn.Linear(OtherEachTime.n_built, 1)


class RandomFeatures(Linear):
    def __init__(self, n_classes):
        super().__init__(n_classes)
        self.register_buffer("mix", torch.randn(3, 3))

    def features(self, x):
        return super().features(x) @ self.mix


class Pooling(Linear):
    def features(self, x):
        return super().features(F.max_pool2d(x, 64))


class Unbuildable(nn.Module):
    def __init__(self, n_classes):
        raise ValueError("no\nsuch depth")


class Empty(nn.Module):
    def forward(self, x):
        return x.mean((2, 3))


READY_MADE = Linear(10)


def same_each_time(n_classes):
    return READY_MADE


def a_number(n_classes):
    return n_classes
