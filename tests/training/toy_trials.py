"""Small trials that differ in everything that may differ, and a data set of noise to train them on."""

import numpy as np

from sweeper.data.dataset import make_dataset
from sweeper.records import Phase, TrainingSettings, TrialConfig

LOSSES = (
    {"loss": "l1"},
    {"loss": "cross_entropy"},
    {"loss": "focal", "gamma": 2.0},
    {"loss": "mae"},
    {"loss": "mse"},
    {"loss": "label_smoothing", "smoothing": 0.2},
    {"loss": "generalized_cross_entropy", "q": 0.6},
    {"loss": "poly1", "epsilon": 1.5},
    {"loss": "focal", "gamma": 0.5},
)


def random_dataset(n_train=250, n_test=70, height=32, width=32, n_classes=10):
    """Noise with a hue per class: the network learns something within an epoch."""
    draw = np.random.default_rng(7)

    def part(n):
        labels = draw.permutation(np.arange(n) % n_classes)
        hues = np.linspace(0, 120, n_classes)[labels][:, None, None, None] * np.array([1.0, 0.5, -0.5])
        return np.clip(draw.normal(90, 40, (n, height, width, 3)) + hues, 0, 255).astype(np.uint8), labels.astype(np.int64)

    return make_dataset("noise", part(n_train), part(n_test), [str(c) for c in range(n_classes)], (0.49, 0.48, 0.45), (0.2, 0.21, 0.19))


def settings(**changes):
    defaults = {"model": "convnet", "epochs": 3, "reduction": "batch", "augment": True, "validation": 50, "evaluate_on": "validation"}
    return TrainingSettings(**(defaults | changes))


def config(number, seed=1, **parameters):
    defaults = {"loss": "cross_entropy", "learning_rate": 0.05, "momentum": 0.9, "weight_decay": 0.0}
    schedule = {"step_size": 1, "step_gamma": 0.5, "batch_size": 64}
    return TrialConfig("arm", Phase.SEARCH, number, seed, defaults | schedule | parameters)


def varied_configs(n, seeds=(1,), batch_sizes=(64,)):
    """Members that differ in everything that may differ."""
    return [
        config(
            i,
            seed=seeds[i % len(seeds)],
            **LOSSES[i % len(LOSSES)],
            learning_rate=(0.03, 0.01, 0.05)[i % 3],
            momentum=(0.9, 0.0, 0.5, 0.8)[i % 4],
            weight_decay=(0.0, 1e-2)[i % 2],
            step_size=1 + i % 2,
            step_gamma=(0.5, 0.1)[i % 2],
            batch_size=batch_sizes[i % len(batch_sizes)],
        )
        for i in range(n)
    ]
