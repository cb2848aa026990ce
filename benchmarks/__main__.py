"""Sweeps of one size, ours and its peers', in one run on the same cores: seconds per trial-epoch and trials per hour, end to end.

    python -m benchmarks                                       all of them, 4 trials of 1 epoch each on CIFAR-10: minutes on 2 cores
    python -m benchmarks --only notebook --only ours           some of them
    python -m benchmarks --trials 16 --epochs 3 --images 10000 --out table.md

notebook    the notebook's loop (torchvision transforms, a DataLoader with 2 workers), trials one after the other
stock_tune  that loop as a function trainable of Ray Tune with OptunaSearch and ASHA, one trial per core side by side
optuna      our engine called from plain study.optimize, on one core
ours        `sweep run` with --pack 1 and with --pack auto, one pack per core side by side

Nothing is pruned, so that all train the same epochs. Workers of Ray run with the niceness that Ray gives them (15) in both sweeps.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import optuna
import torch

from benchmarks.epoch import DEFAULT_DATA, LOSSES, SETTINGS, notebook_epoch
from sweeper.provenance import available_cores, processor
from sweeper.records import Phase, TrainingSettings, TrialConfig
from sweeper.training.data import Dataset, load_dataset
from sweeper.training.engine import Pack

SPACE = """
name: benchmark
dataset: {{name: parquet, data_dir: {data_dir}, validation: {validation}}}
training: {{epochs: {epochs}, batch_size: 128}}
parameters:
  loss: cross_entropy
  learning_rate: {{low: 1.0e-3, high: 1.0e-1, log: true}}
compare: {{trials_per_arm: {trials}, seeds: 0}}
search: {{sampler: random, pruner: none}}
resources: {{cpus_per_trial: 1, gpus_per_trial: 0}}
"""


def notebook(dataset: Dataset, validation: int, trials: int, epochs: int) -> None:  # noqa: ARG001  # a second trial takes as long as the first
    """One trial: the notebook trains one after the other."""
    epoch = notebook_epoch(dataset, validation, n_workers=2)
    for _ in range(epochs):
        epoch()


def stock_tune(dataset: Dataset, validation: int, trials: int, epochs: int) -> None:
    """The notebook's loop under Ray Tune as its documentation shows it."""
    import ray
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.optuna import OptunaSearch

    def train(config: dict[str, Any], dataset: Dataset) -> None:
        torch.set_num_threads(1)
        epoch = notebook_epoch(dataset, validation, 2, config["learning_rate"])
        for _ in range(epochs):
            tune.report({"accuracy": epoch()})

    ray.init(address="local", num_cpus=available_cores(), include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        with tempfile.TemporaryDirectory() as folder:
            scheduler = ASHAScheduler(metric="accuracy", mode="max", max_t=max(epochs, 1), grace_period=max(epochs, 1))
            results = tune.Tuner(
                tune.with_parameters(train, dataset=dataset),
                param_space={"learning_rate": tune.loguniform(1e-3, 1e-1)},
                tune_config=tune.TuneConfig(
                    num_samples=trials, search_alg=OptunaSearch(metric="accuracy", mode="max"), scheduler=scheduler
                ),
                run_config=tune.RunConfig(storage_path=folder, verbose=0),
            ).fit()
            if results.errors:
                raise RuntimeError(f"stock_tune: {len(results.errors)} trials failed: {results.errors[0]}")
    finally:
        ray.shutdown()


def with_optuna(dataset: Dataset, validation: int, trials: int, epochs: int) -> None:
    """Our engine in an objective of Optuna's own loop."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    settings = TrainingSettings("convnet", epochs, "batch", augment=True, validation=validation, evaluate_on="validation")

    def objective(trial: optuna.Trial) -> float:
        parameters = SETTINGS | LOSSES[1] | {"learning_rate": trial.suggest_float("learning_rate", 1e-3, 1e-1, log=True)}
        pack = Pack(dataset, settings, [TrialConfig("benchmark", Phase.SEARCH, trial.number, 1, parameters)])
        for _ in range(epochs):
            (metrics,) = pack.train_epoch().values()
        return metrics.val_accuracy

    optuna.create_study(direction="maximize").optimize(objective, n_trials=trials)


def sweep_run(pack: str) -> Callable[[Path, int, int, int], None]:
    """A function that runs ``sweep run`` as a process of its own."""

    def run(data_dir: Path, validation: int, trials: int, epochs: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            space = Path(folder) / "space.yaml"
            space.write_text(SPACE.format(data_dir=data_dir, validation=validation, trials=trials, epochs=epochs))
            command = [sys.executable, "-m", "sweeper", "run", space, "--pack", pack, "--results", f"{folder}/results", "--quiet"]
            subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)

    return run


def main() -> None:
    """Run the benchmark and print its table."""
    names = ("notebook", "stock_tune", "optuna", "ours")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=names, help="a row; may be repeated (default: all)")
    parser.add_argument("--data-dir", type=Path, default=DEFAULT_DATA, help="train.parquet and test.parquet with img.bytes and label")
    parser.add_argument("--trials", type=int, default=4, help="trials of each sweep (default 4; notebook: 1)")
    parser.add_argument("--our-trials", type=int, default=32, help="trials of our sweeps, which are too short with few (default 32)")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=1, help="runs of each row, interleaved (default 1)")
    parser.add_argument("--out", type=Path, help="write the table there too")
    options = parser.parse_args()
    torch.set_num_threads(1)
    dataset = load_dataset("parquet", str(options.data_dir))
    validation = len(dataset.train_labels) // 10
    rows: dict[str, tuple[int, Callable[[], None]]] = {}
    epochs, cores = options.epochs, available_cores()
    chosen = options.only or names
    if "notebook" in chosen:
        rows["notebook"] = (1, lambda: notebook(dataset, validation, 1, epochs))
    if "stock_tune" in chosen:
        rows["stock_tune"] = (options.trials, lambda: stock_tune(dataset, validation, options.trials, epochs))
    if "optuna" in chosen:
        rows["optuna + our engine, one core"] = (options.trials, lambda: with_optuna(dataset, validation, options.trials, epochs))
    if "ours" in chosen:
        for pack in ("1", "auto"):
            run = sweep_run(pack)
            rows[f"sweep run --pack {pack}"] = (
                options.our_trials,
                lambda run=run: run(options.data_dir.resolve(), validation, options.our_trials, epochs),  # type: ignore[misc]
            )
    seconds: dict[str, list[float]] = {name: [] for name in rows}
    load = os.getloadavg()[0]
    for _ in range(options.repeats):
        for name, (_, run_row) in rows.items():
            started = time.perf_counter()
            run_row()
            seconds[name].append(time.perf_counter() - started)
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "torchvision", "ray", "optuna", "numba"))
    lines = [
        (
            f"{epochs} epoch(s) of {len(dataset.train_labels) - validation} images, {validation} evaluated; "
            f"{cores} cores of {processor()}; "
            f"no GPU measured; Python {platform.python_version()}, {versions}; median of n = {options.repeats} run(s); "
            f"load {load:.1f} before, {os.getloadavg()[0]:.1f} after. Wall time end to end: start of Ray, imports, reading data included."
        ),
        "",
        "| sweep | trials | s end to end | s per trial-epoch | trials per hour | times faster than the first row |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    first = None
    for name, (trials, _) in rows.items():
        each = medians[name] / trials / epochs
        first = first or each
        lines.append(f"| {name} | {trials} | {medians[name]:.1f} | {each:.2f} | {3600 * trials / medians[name]:.0f} | {first / each:.1f} |")
    text = "\n".join(lines) + "\n"
    print(text)
    if options.out:
        options.out.write_text(text)


if __name__ == "__main__":
    main()
