"""What policies of augmentation and bfloat16 cost on one core, as shares of an epoch with `crop_flip` and of one in float32.

    python -m benchmarks.recipes                           the convnet, and torchvision's ResNet-18 in both precisions; about two minutes
    python -m benchmarks.recipes --model my_nets:Residual  another network in both precisions

Noise as large as CIFAR-10's images, in batches of 128, and processor seconds. Every repeat trains an epoch of each row once, in turn.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time

import numpy as np
import torch

from sweeper.catalogue import TRAINING_PARAMETERS
from sweeper.data import Dataset
from sweeper.data.dataset import make_dataset
from sweeper.records import Phase, TrainingSettings, TrialConfig
from sweeper.store.provenance import processor
from sweeper.training.engine import Pack

SHARED = {"loss": "cross_entropy", "learning_rate": 0.01, "momentum": 0.9, "weight_decay": 0.0, "step_size": 1, "step_gamma": 1.0}


def noise(n_images: int) -> Dataset:
    """Images to train on, and a few to evaluate."""
    draw = np.random.default_rng(0)
    train, test = ((draw.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8), np.arange(n) % 10) for n in (n_images, 10))
    return make_dataset("noise", train, test, [str(number) for number in range(10)], (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


def seconds(model: str, n_images: int, recipes: list[dict[str, str]], repeats: int) -> list[list[float]]:
    """Processor seconds of an epoch of one member with each recipe, one for each repeat."""
    settings = TrainingSettings(model, 1, "batch", augment="crop_flip", validation=None, evaluate_on="test")
    configs = [TrialConfig("arm", Phase.SEARCH, 0, 1, {**SHARED, "batch_size": 128, **recipe}) for recipe in recipes]
    packs = [Pack(noise(n_images), settings, [config]) for config in configs]
    taken: list[list[float]] = [[] for _ in recipes]
    for repeat in range(repeats + 1):
        for pack, column in zip(packs, taken, strict=True):
            started = time.process_time()
            pack.train_epoch()
            if repeat:  # the first warms up
                column.append(time.process_time() - started)
    return taken


def table(title: str, n_images: int, names: list[str], taken: list[list[float]]) -> str:
    """A row for each recipe: milliseconds for 1,000 images, and by how much more than the first row in the same repeat."""
    lines = [f"| {title} | ms for 1,000 images | of the first row, median [range] |", "|---|---:|---:|"]
    for name, column in zip(names, taken, strict=True):
        ratios = sorted(each / first for each, first in zip(column, taken[0], strict=True))
        span = f"{statistics.median(ratios):.2f} [{ratios[0]:.2f}, {ratios[-1]:.2f}]"
        lines.append(f"| {name} | {1e6 * statistics.median(column) / n_images:.1f} | {span} |")
    return "\n".join(lines)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="torchvision.models:resnet18")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--images", type=int, default=5120, help="of an epoch of the convnet; the other network gets a tenth")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{processor()}, one core; Python {platform.python_version()}, torch {torch.__version__}; n = {options.repeats}\n")
    policies = ["crop_flip", *(each for each in TRAINING_PARAMETERS["augment"].options if each != "crop_flip")]
    taken = seconds("convnet", options.images, [{"augment": policy} for policy in policies], options.repeats)
    print(table("augment, convnet", options.images, policies, taken), "\n")
    precisions, n_images = list(TRAINING_PARAMETERS["precision"].options), options.images // 10
    taken = seconds(options.model, n_images, [{"precision": each} for each in precisions], options.repeats)
    print(table(f"precision, {options.model}", n_images, precisions, taken))


if __name__ == "__main__":
    main()
