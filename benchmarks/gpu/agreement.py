"""Does a trial learn on the GPU what it learns on the CPU: each loss alone and packed, repeated, and to the accuracy that it ends with?"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import fields, replace
from multiprocessing import get_context
from typing import Any

import numpy as np
import torch

from benchmarks.accuracy import notebook_trials
from benchmarks.gpu.run import Run, make_pack, members, pack_by
from sweeper.catalogue import LOSSES
from sweeper.metrics import metric_of
from sweeper.records import EpochMetrics, TrialConfig
from sweeper.store.provenance import available_cores
from sweeper.training.engine import Pack

EPOCHS = 2
N_SEEDS, LEARNING_RATE = 16, 0.02
"""Of the comparison of accuracies; at the notebook's learning rate, 0.1, seeds differ by three points."""

Curves = list[dict[str, EpochMetrics]]


def curves(run: Run) -> None:
    """Largest differences from the CPU by loss and backend, and whether company or repetition changes a bit."""
    torch.set_num_threads(1)  # as a pack under Ray
    n_train, n_validation, batch = (128, 64, 64) if run.rehearsal else (4096, 1024, 128)
    dataset = run.dataset(n_train + n_validation)
    configs = members(len(LOSSES), [{"loss": name, **loss.defaults} for name, loss in LOSSES.items()], batch_size=batch)
    expected, _ = train(make_pack(dataset, n_validation, configs, "cpu"))
    for backend, problem in run.available_backends(dataset):
        if problem:
            run.record("agreement", backend=backend, problem=problem)
            continue
        packed, weights = train(make_pack(dataset, n_validation, configs, run.device, backend))
        again, weights_again = train(make_pack(dataset, n_validation, configs, run.device, backend))
        for config in configs:
            alone, weights_alone = train(make_pack(dataset, n_validation, [config], run.device, backend))
            run.record(
                "agreement",
                backend=backend,
                loss=config.parameters["loss"],
                differences=differences(config.trial_id, expected, packed),
                packed_is_alone=same(config.trial_id, (packed, weights), (alone, weights_alone)),
                repeats=same(config.trial_id, (packed, weights), (again, weights_again)),
                images=n_train,
                epochs=EPOCHS,
            )


def train(pack: Pack, n_epochs: int = EPOCHS) -> tuple[Curves, dict[str, Mapping[str, Any]]]:
    """The figures of each epoch without its time, and the state of each member at the end."""
    epochs = []
    for _ in range(n_epochs):
        figures = pack.train_epoch()
        epochs.append({name: replace(each, epoch_seconds=0.0) for name, each in figures.items() if isinstance(each, EpochMetrics)})
    return epochs, {name: pack.state(name) for name in epochs[-1]}


def differences(trial_id: str, expected: Curves, found: Curves) -> dict[str, float]:
    """Largest difference of each figure over the epochs: absolute for shares of 1, relative for the others; none of one that is absent."""
    largest = {}
    for name in (field.name for field in fields(EpochMetrics) if field.name.startswith(("train_", "val_"))):
        x, y = (np.array([getattr(epoch[trial_id], name) for epoch in side]) for side in (found, expected))
        if np.isnan(x).all() and np.isnan(y).all():
            continue
        scale = 1.0 if metric_of(name).is_fraction else np.maximum(np.abs(y), 1e-12)
        largest[name] = float(np.max(np.abs(x - y) / scale))
    return largest


def same(trial_id: str, first: tuple[Curves, dict[str, Mapping[str, Any]]], second: tuple[Curves, dict[str, Mapping[str, Any]]]) -> str:
    """Whether figures and weights of a trial are equal to the bit, and which of them if not both."""
    figures = all(a[trial_id] == b[trial_id] for a, b in zip(first[0], second[0], strict=True))
    a, b = first[1][trial_id], second[1][trial_id]
    weights = all(np.array_equal(a[name], b[name]) for name in a)
    return {(True, True): "yes", (False, True): "weights", (True, False): "figures", (False, False): "no"}[figures, weights]


def accuracies(run: Run) -> None:
    """Test accuracies of the notebook's cross-entropy trial by seed: of packs on the device, then of the CPU with what time is left."""
    n_seeds = 3 if run.rehearsal else N_SEEDS
    dataset = run.dataset()
    settings, trials = notebook_trials(range(1, n_seeds + 1), LEARNING_RATE)
    n_epochs = 2 if run.rehearsal else settings.epochs
    images = len(dataset.train_labels)
    for backend, problem in run.available_backends(dataset):
        if problem or run.left() < 10:
            continue
        pack = pack_by(backend, dataset, settings, trials, run.device)
        ends = time.time() + run.left() / 3  # the CPU takes far longer
        for trial_id, found in by_epoch(pack, trials, n_epochs, ends).items():
            seed = next(trial.seed for trial in trials if trial.trial_id == trial_id)
            run.record("accuracy", side=f"{run.device}, {backend}", seed=seed, accuracies=found, images=images)
    cores = min(available_cores(), n_seeds)
    seconds_each = (run.left() - 5) / -(-n_seeds // cores)
    with ProcessPoolExecutor(cores, get_context("spawn")) as pool:
        tasks = {pool.submit(alone_on_the_cpu, run, trial.seed, n_epochs, seconds_each): trial.seed for trial in trials}
        for task in as_completed(tasks):
            run.record("accuracy", side="CPU", seed=tasks[task], accuracies=task.result(), images=images)


def alone_on_the_cpu(run: Run, seed: int, n_epochs: int, seconds: float) -> list[float]:
    """Test accuracy after each epoch of the trial with this seed, as many as there is time for."""
    ends = time.time() + seconds  # reading the images counts
    torch.set_num_threads(1)
    settings, trials = notebook_trials([seed], LEARNING_RATE)
    return by_epoch(Pack(run.dataset(), settings, trials), trials, n_epochs, ends)[trials[0].trial_id]


def by_epoch(pack: Pack, trials: Sequence[TrialConfig], n_epochs: int, ends: float) -> dict[str, list[float]]:
    """Test accuracy of each trial after each epoch that can be done until ``ends``, one at least."""
    found: dict[str, list[float]] = {trial.trial_id: [] for trial in trials}
    took = 0.0
    for epoch in range(n_epochs):
        started = time.time()
        if epoch and started + 1.2 * took > ends:
            break
        for trial_id, figures in pack.train_epoch().items():
            assert isinstance(figures, EpochMetrics), figures
            found[trial_id].append(figures.val_accuracy)
        took = time.time() - started
    return found
