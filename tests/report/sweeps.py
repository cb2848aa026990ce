"""Sweeps as a run leaves them, without the run: rows go through the store, numbers are made up but plausible."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from stored_rows import store_rows

from sweeper import metrics
from sweeper.records import VAL_METRICS, EpochMetrics, Phase, Predictions, TestMetrics, TrialConfig, TrialState, study_name
from sweeper.space import Space, dump_space, parse_space
from sweeper.store import SweepFolder

SPACE = """
name: focal
dataset: {name: parquet, data_dir: images, validation: 50}
training: {epochs: 4}
parameters:
  loss: {choices: [l1, cross_entropy, focal]}
  gamma: {low: 0.0, high: 5.0, when: {loss: focal}}
  learning_rate: {low: 1e-4, high: 1.0, log: true}
  step_size: {type: int, low: 2, high: 15}
  step_gamma: 0.5
compare: {arms: loss, searches: 1, trials_per_arm: 4, seeds: 8}
search: {pruner: {name: successive_halving, min_resource: 1, reduction_factor: 2}}
seed: 1
"""

PROVENANCE = {
    "started_at": "2026-01-02T03:04:05+00:00",
    "sweeper": "1.0.0",
    "python": "3.11.9",
    "packages": {"torch": "2.11.0", "ray": "2.60.0"},
    "hardware": {"cpu": "Xeon", "cores": 2, "gpus": []},
    "dataset": {"name": "parquet", "classes": ["cat", "dog", "owl"], "fingerprint": "abc"},
}


class SweepBuilder:
    """Writes one sweep below ``results``."""

    def __init__(self, results: Path, sweep_id: str = "focal-20260102-030405", space: str = SPACE, provenance: dict | None = None) -> None:
        self.space: Space = parse_space(space, "sweep.yaml")
        self.folder = SweepFolder(str(results / sweep_id))
        self.folder.create()
        self.folder.write_space(dump_space(self.space))
        self.folder.write_provenance(PROVENANCE if provenance is None else provenance)
        self.trial_rows: list[dict] = []
        self.epoch_rows: list[dict] = []

    def trial(
        self,
        arm: str,
        number: int,
        accuracies: Sequence[float],
        *,
        state: TrialState = TrialState.COMPLETE,
        phase: Phase = Phase.SEARCH,
        seed: int = 1,
        test: TestMetrics | None = None,
        error: str | None = None,
        search: int = 1,
        **parameters: object,
    ) -> TrialConfig:
        """One finished trial whose validation accuracy went through ``accuracies``."""
        defaults = {"loss": arm, "learning_rate": 0.01, "step_size": 5, "step_gamma": 0.5, "momentum": 0.9, "batch_size": 128}
        config = TrialConfig(arm, phase, number, seed, {**defaults, **parameters}, search)
        epochs = tuple(_epoch(index, value) for index, value in enumerate(accuracies, start=1))
        identity = {"sweep": self.folder.id, "arm": arm, "search": search, "phase": str(phase), "trial": config.trial_id, "number": number}
        self.epoch_rows += [{**identity, **epoch.figures} for epoch in epochs]
        row = {
            **identity,
            "study": study_name(arm, search, phase),
            "pack": "pack_0",
            "seed": seed,
            "state": str(state),
            "value": accuracies[-1] if state is TrialState.COMPLETE else None,
            "epochs": len(epochs),
            "train_seconds": 2.5 * len(epochs),
            "device": "cpu",
            "attempts": 1,
            "error": error,
            **(test.figures if test else {}),
            **{f"param_{name}": value for name, value in config.parameters.items()},
        }
        for when, epoch in (
            ("best", max(epochs, key=lambda epoch: epoch.val_accuracy, default=None)),
            ("last", epochs[-1] if epochs else None),
        ):
            row |= {f"{when}_{name}": getattr(epoch, name) for name in VAL_METRICS} if epoch else {}
            row |= {"best_epoch": epoch.epoch} if epoch and when == "best" else {}
        self.trial_rows.append(row)
        return config

    def confirm(self, arm: str, accuracies: Sequence[float], *, first_seed: int = 100, search: int = 1, **parameters: object) -> None:
        """Confirm trials of one arm with these test accuracies, one seed each."""
        for number, accuracy in enumerate(accuracies):
            test = _test_metrics(accuracy)
            self.trial(
                arm,
                number,
                [0.4, 0.5, 0.55, accuracy],
                phase=Phase.CONFIRM,
                seed=first_seed + number,
                test=test,
                search=search,
                **parameters,
            )

    def confirm_with_logits(self, arm: str, seeds: Sequence[int], skill: float, **parameters: object) -> None:
        """Confirm trials whose figures come from logits, which are stored; ``skill`` is the logit that the right class has more."""
        for number, seed in enumerate(seeds):
            parts = {split: _predict(split, seed, skill) for split in ("validation", "test")}
            test = _measure(parts["validation"], parts["test"])
            config = self.trial(arm, number, [0.4, 0.5, 0.55, 0.6], phase=Phase.CONFIRM, seed=seed, test=test, **parameters)
            self.folder.write_predictions(config, parts.values())

    def killed(self, in_parquet: float) -> SweepFolder:
        """As a killed sweep leaves it: every row in the log, and the first of them, as a share of all, in Parquet."""
        self.done(in_parquet)
        with self.folder.row_log.open("a") as log:
            log.write('{"kind":"trial","row":{"swe')
        return self.folder

    def done(self, in_parquet: float = 1.0) -> SweepFolder:
        types = self.space.parameter_types()
        store_rows(self.folder, epochs=self.epoch_rows, trials=self.trial_rows, parameter_types=types, in_parquet=in_parquet)
        self.trial_rows, self.epoch_rows = [], []
        return self.folder


def _epoch(epoch: int, accuracy: float) -> EpochMetrics:
    nll = -math.log(max(accuracy, 1e-3))
    return EpochMetrics(
        epoch=epoch,
        train_loss=nll + 0.1,
        train_accuracy=accuracy - 0.02,
        val_loss=nll,
        val_accuracy=accuracy,
        val_nll=nll,
        val_brier=1 - accuracy,
        val_ece=0.05,
        learning_rate=0.01,
        epoch_seconds=2.5,
        val_balanced_accuracy=accuracy,
        val_macro_f1=accuracy - 0.01,
        val_worst_class_accuracy=accuracy / 2,
    )


def _test_metrics(accuracy: float) -> TestMetrics:
    nll = 2 - accuracy
    scaled = {"temperature": 1.25, "test_nll_scaled": nll - 0.1, "test_brier_scaled": 0.95 - accuracy, "test_ece_scaled": 0.02}
    by_class = {"test_balanced_accuracy": accuracy, "test_macro_f1": accuracy - 0.01, "test_worst_class_accuracy": accuracy / 2}
    return TestMetrics(nll, accuracy, nll, 1 - accuracy, 0.08, **by_class, **scaled)


def _predict(split: str, seed: int, skill: float, n_images: int = 300) -> Predictions:
    rng = np.random.default_rng([seed, split == "test", int(100 * skill)])
    labels = np.arange(n_images) % 3
    logits = rng.normal(size=(n_images, 3)) * 2
    logits[np.arange(n_images), labels] += skill * (1 + labels / 4)
    return Predictions(split, np.arange(n_images), labels, logits.astype(np.float16).astype(np.float32))


def _measure(validation: Predictions, test: Predictions) -> TestMetrics:
    temperature = metrics.fit_temperature(validation.logits, validation.labels)
    plain, scaled = _scores(test.logits, test.labels), _scores(test.logits / temperature, test.labels)
    return replace(
        plain,
        temperature=temperature,
        test_nll_scaled=scaled.test_nll,
        test_brier_scaled=scaled.test_brier,
        test_ece_scaled=scaled.test_ece,
    )


def _scores(logits: np.ndarray, labels: np.ndarray) -> TestMetrics:
    figures = {metric.test_column: metric.compute(logits, labels) for metric in metrics.METRICS.values() if metric.compute}
    return TestMetrics(test_loss=metrics.nll(logits, labels), **figures)


def searched(results: Path, sweep_id: str = "focal-20260102-030405", space: str = SPACE) -> SweepBuilder:
    """A finished search of three arms with every kind of end, nothing confirmed yet."""
    builder = SweepBuilder(results, sweep_id, space)
    pruned = TrialState.PRUNED
    builder.trial("l1", 0, [0.1, 0.12, 0.2, 0.25], learning_rate=0.9)
    builder.trial("l1", 1, [0.1], state=pruned, learning_rate=0.001)
    builder.trial("l1", 2, [0.1, 0.1], state=pruned, learning_rate=0.002)
    builder.trial("l1", 3, [], state=TrialState.FAILED, error="RuntimeError: no kernel image")
    builder.trial("cross_entropy", 0, [0.3, 0.4, 0.5, 0.55], learning_rate=0.02)
    builder.trial("cross_entropy", 1, [0.3, 0.4, 0.5, 0.574], learning_rate=0.0123456789)
    builder.trial("cross_entropy", 2, [0.2], state=pruned, learning_rate=0.0004)
    builder.trial("cross_entropy", 3, [0.2, 0.1], state=TrialState.DIVERGED, learning_rate=0.5)
    builder.trial("focal", 0, [0.3, 0.45, 0.5, 0.58], learning_rate=0.03, gamma=0.1)
    builder.trial("focal", 1, [0.3, 0.45, 0.5, 0.56], learning_rate=0.05, gamma=2.0)
    builder.trial("focal", 2, [0.25, 0.3], state=pruned, learning_rate=0.005, gamma=3.0)
    builder.trial("focal", 3, [0.2], state=pruned, learning_rate=0.0007, gamma=4.5)
    return builder


LARGE_SPACE = """
name: focal
dataset: {{name: parquet, data_dir: images, validation: 5000}}
training: {{epochs: {epochs}}}
parameters:
  loss: {{choices: [l1, cross_entropy, focal]}}
  gamma: {{low: 0.0, high: 5.0, when: {{loss: focal}}}}
  learning_rate: {{low: 1e-4, high: 1.0, log: true}}
  step_size: {{type: int, low: 2, high: 15}}
  step_gamma: {{low: 0.1, high: 0.9}}
compare: {{arms: loss, searches: 1, trials_per_arm: {trials}, seeds: {seeds}}}
search: {{pruner: {{name: successive_halving, min_resource: 1, reduction_factor: 3}}}}
"""
ARMS = {"l1": (0.36, 0.5), "cross_entropy": (0.60, 0.02), "focal": (0.595, 0.05)}
"""What each arm reaches at its best learning rate, and that rate."""
CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def plausible(
    results: Path, *, trials: int, epochs: int, seeds: int, images: int = 0, sweep_id: str = "focal-20260102-030405"
) -> SweepFolder:
    """A finished sweep of three arms with curves that rise and level off, a third of the trials complete, the others pruned.

    ``images``: how many test images (and half as many validation images) have logits; 0 for none.
    """
    provenance = {**PROVENANCE, "dataset": {"name": "parquet", "classes": CLASSES}}
    builder = SweepBuilder(results, sweep_id, LARGE_SPACE.format(trials=trials, epochs=epochs, seeds=seeds), provenance)
    rng = np.random.default_rng(7)
    for arm, (top, best_rate) in ARMS.items():
        configurations = []
        for number in range(trials):
            rate = float(10 ** rng.uniform(-4, 0))
            extra = {"gamma": float(rng.uniform(0, 5))} if arm == "focal" else {}
            chosen = {"learning_rate": rate, "step_size": int(rng.integers(2, 16)), "step_gamma": float(rng.uniform(0.1, 0.9)), **extra}
            end = 0.1 + (top - 0.1) * math.exp(-0.25 * math.log(rate / best_rate) ** 2) - 0.01 * extra.get("gamma", 0.0)
            pruned = number % 3 != 0
            n_epochs = int(rng.integers(1, max(epochs // 2, 2))) if pruned else epochs
            curve = _curve(rng, end, epochs)[:n_epochs]
            builder.trial(arm, number, curve, state=TrialState.PRUNED if pruned else TrialState.COMPLETE, **chosen)
            configurations.append((-1.0 if pruned else curve[-1], chosen))
        chosen = max(configurations, key=lambda entry: entry[0])[1]
        for number in range(seeds):
            _confirm(builder, rng, arm, number, _curve(rng, top, epochs), images, chosen)
    return builder.done()


def _curve(rng: np.random.Generator, end: float, epochs: int) -> list[float]:
    steps = np.arange(1, epochs + 1)
    rising = 0.1 + (end - 0.1) * (1 - np.exp(-4 * steps / epochs)) / (1 - np.exp(-4))
    return [float(value) for value in np.clip(rising + rng.normal(0, 0.006, epochs), 0.02, 0.98)]


def _confirm(
    builder: SweepBuilder, rng: np.random.Generator, arm: str, number: int, curve: list[float], images: int, chosen: dict[str, object]
) -> None:
    seed = 1000 + number
    if not images:
        builder.trial(arm, number, curve, phase=Phase.CONFIRM, seed=seed, test=_test_metrics(curve[-1] - 0.003), **chosen)
        return
    parts = []
    for split, n_images in (("validation", images // 2), ("test", images)):
        labels = np.arange(n_images) % len(CLASSES)
        logits = rng.normal(size=(n_images, len(CLASSES)))
        logits[np.arange(n_images), labels] += 4.5 * curve[-1] - 1
        logits[np.arange(n_images), (labels + 2) % len(CLASSES)] += 0.6 * (labels % 2)
        parts.append(Predictions(split, np.arange(n_images), labels, (1.6 * logits).astype(np.float16).astype(np.float32)))
    test = _measure(*parts)
    config = builder.trial(arm, number, curve, phase=Phase.CONFIRM, seed=seed, test=test, **chosen)
    builder.folder.write_predictions(config, parts)


REFERENCE_SPACE = """
name: notebook
dataset: {name: cifar10, validation: test}
training: {epochs: 2, learning_rate: 0.1, step_size: 5, step_gamma: 0.5, reduction: elements}
parameters: {loss: {choices: [l1, cross_entropy, {name: focal_2, loss: focal, gamma: 2.0}]}}
compare:
  arms: loss
  trials_per_arm: 1
  seeds: 0
  reference: {source: the notebook, test_accuracy: {l1: 0.1001, cross_entropy: 0.5505, focal_2: 0.5808}}
search: {pruner: none}
"""
