"""How often a sweep calls a winner between two arms that are the same loss: cross-entropy, and focal loss with gamma 0.

    python -m benchmarks.same_loss                       20 sweeps on generated images, about 10 minutes on two cores
    python -m benchmarks.same_loss --searches 1          the same with one search of each arm and 8 paired seeds
    python -m benchmarks.same_loss --data-dir FOLDER     on CIFAR-10 as Parquet

Every sweep is a real one, with Ray Tune, TPE and successive halving, and another seed. A line each: what the verdict was, and the lead of
the arm that was ahead; at the end the share of sweeps with a winner and its exact 95 % interval. At most one in twenty is expected.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from importlib import metadata
from typing import Any

from scipy.stats import binomtest

import sweeper
from sweeper.store.provenance import processor

SPACE: dict[str, Any] = {
    "name": "same-loss",
    "training": {"epochs": 4},
    "parameters": {
        "loss": {
            "choices": [
                {"name": "cross_entropy", "loss": "cross_entropy"},
                {"name": "focal_0", "loss": "focal", "gamma": 0.0},
            ]
        },
        "learning_rate": {"low": 1e-3, "high": 1.0, "log": True},
    },
    "search": {
        "sampler": {"name": "tpe", "n_startup_trials": 4},
        "pruner": {"name": "successive_halving", "min_resource": 1, "reduction_factor": 2},
    },
    "resources": {"pack": 4},
}
GENERATED = {"name": "synthetic", "train_images": 4000, "test_images": 4000, "validation": 1000}


def space_of(options: argparse.Namespace, seed: int) -> dict[str, Any]:
    """One sweep's space."""
    dataset = {"name": "parquet", "data_dir": options.data_dir, "validation": 5000} if options.data_dir else GENERATED
    compare = {"arms": "loss", "searches": options.searches, "trials_per_arm": options.trials}
    return {**SPACE, "dataset": dataset, "compare": compare, "seed": seed}


def main() -> None:
    """Run the sweeps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sweeps", type=int, default=20)
    parser.add_argument("--searches", type=int, default=5)
    parser.add_argument("--trials", type=int, default=6, help="of each search")
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--data-dir", default=None)
    options = parser.parse_args()
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("torch", "ray", "optuna"))
    print(f"{processor()}, python {platform.python_version()}, {versions}; {options}", flush=True)
    n_winners = 0
    with tempfile.TemporaryDirectory(prefix="same-loss-") as results:
        for seed in range(options.first_seed, options.first_seed + options.sweeps):
            began = time.monotonic()
            sweep = sweeper.run(space_of(options, seed), results=results, progress=False)
            verdict = json.loads(sweep.report("json"))["sweeps"][0]["verdict"]
            n_winners += verdict["kind"] == "better"
            print(f"seed {seed}: {verdict['kind']}, {time.monotonic() - began:.0f} s: {verdict['sentence']}", flush=True)
    low, high = binomtest(n_winners, options.sweeps).proportion_ci()
    print(f"a winner in {n_winners} of {options.sweeps} sweeps: {n_winners / options.sweeps:.0%} [{low:.0%}, {high:.0%}]")


if __name__ == "__main__":
    main()
