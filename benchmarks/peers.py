"""One sweep by one of the peers, in a process of its own: ``python -m benchmarks.peers NAME DATA_DIR VALIDATION TRIALS EPOCHS``.

Prints how many trials trained side by side, and the wall seconds that each trial spent in its epochs, as JSON. With 0 epochs a trial
reports once and trains nothing.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from typing import Any

import optuna
import torch

from benchmarks.epoch import LOSSES, SETTINGS, notebook_epoch
from sweeper.data import Dataset, load_dataset
from sweeper.records import Phase, TrainingSettings, TrialConfig
from sweeper.store.provenance import available_cores
from sweeper.training.engine import Pack

LEARNING_RATES = (1e-3, 1e-1)


def notebook(dataset: Dataset, validation: int, trials: int, epochs: int) -> tuple[int, list[float]]:
    """The notebook's loop, trials one after the other, each with all cores and two processes that prepare images."""
    seconds = []
    for _ in range(trials):
        epoch = notebook_epoch(dataset, validation, n_workers=2)
        started = time.perf_counter()
        for _ in range(epochs):
            epoch()
        seconds.append(time.perf_counter() - started)
    return 1, seconds


def stock_tune(
    dataset: Dataset, validation: int, trials: int, epochs: int, side_by_side: int | None = None, device: str = "cpu"
) -> tuple[int, list[float]]:
    """The notebook's loop under Ray Tune as its documentation shows it: one trial per core, or so many that share the cores and one GPU."""
    import ray
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.optuna import OptunaSearch

    def train(config: dict[str, Any], dataset: Dataset) -> None:
        torch.set_num_threads(1)
        if not epochs:
            tune.report({"accuracy": 0.0, "seconds": 0.0})
            return
        epoch = notebook_epoch(dataset, validation, 2, config["learning_rate"], device)
        started = time.perf_counter()
        for _ in range(epochs):
            accuracy = epoch()
            tune.report({"accuracy": accuracy, "seconds": time.perf_counter() - started})

    cores, gpus = available_cores(), int(device == "cuda")
    side_by_side = side_by_side or cores
    ray.init(address="local", num_cpus=cores, num_gpus=gpus, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    with tempfile.TemporaryDirectory() as folder:
        results = tune.Tuner(
            tune.with_resources(
                tune.with_parameters(train, dataset=dataset), {"cpu": max(1, cores // side_by_side), "gpu": gpus / side_by_side}
            ),
            param_space={"learning_rate": tune.loguniform(*LEARNING_RATES)},
            tune_config=tune.TuneConfig(
                num_samples=trials,
                search_alg=OptunaSearch(metric="accuracy", mode="max"),
                scheduler=ASHAScheduler(metric="accuracy", mode="max", max_t=max(epochs, 1), grace_period=max(epochs, 1)),
            ),
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        ).fit()
        if results.errors:
            raise RuntimeError(f"stock_tune: {len(results.errors)} trials failed: {results.errors[0]}")
        seconds = [float(result.metrics["seconds"]) for result in results]
    ray.shutdown()
    return side_by_side, seconds


def with_optuna(dataset: Dataset, validation: int, trials: int, epochs: int) -> tuple[int, list[float]]:
    """Our engine in an objective of Optuna's own loop, on one core."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    torch.set_num_threads(1)
    settings = TrainingSettings("convnet", epochs, "batch", augment=True, validation=validation, evaluate_on="validation")
    seconds = []

    def objective(trial: optuna.Trial) -> float:
        parameters = SETTINGS | LOSSES[1] | {"learning_rate": trial.suggest_float("learning_rate", *LEARNING_RATES, log=True)}
        pack = Pack(dataset, settings, [TrialConfig("benchmark", Phase.SEARCH, trial.number, 1, parameters)])
        started = time.perf_counter()
        for _ in range(epochs):
            (metrics,) = pack.train_epoch().values()
        seconds.append(time.perf_counter() - started)
        return float(metrics.val_accuracy)

    optuna.create_study(direction="maximize").optimize(objective, n_trials=trials)
    return 1, seconds


PEERS = {"notebook": notebook, "stock_tune": stock_tune, "optuna": with_optuna}


def main() -> None:
    """Run the peer that the command line names."""
    name, data_dir, *numbers = sys.argv[1:]
    side_by_side, seconds = PEERS[name](load_dataset("parquet", data_dir), *map(int, numbers))
    print(json.dumps({"side_by_side": side_by_side, "seconds": seconds}))


if __name__ == "__main__":
    main()
