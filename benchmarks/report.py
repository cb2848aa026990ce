"""How long a report takes and how much memory, on generated sweeps.

    python benchmarks/report.py          both sizes, about 5 minutes, most of it to generate them
    python benchmarks/report.py --small  1,000 trials x 30 epochs only

Each line is a fresh `python -m sweeper report` (start, imports and all) on a sweep of three arms with 8 confirm seeds each: wall seconds,
median and range of five, the median of the processor seconds, and the highest resident memory of the process. On a machine that does
nothing else the wall seconds must stay below 2 for 1,000 trials x 30 epochs, and below 10, in less than 1 GB, for 10,000 trials x 100
epochs (a million rows of epochs). Beside other work only the processor seconds say something.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from importlib import metadata
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow as pa

from sweeper.metrics import log_softmax
from sweeper.records import EPOCH_COLUMNS, VAL_METRICS, Phase, Predictions, TrialConfig
from sweeper.space import Space, dump_space, parse_space
from sweeper.store import SweepFolder
from sweeper.store.provenance import available_cores
from sweeper.store.row_log import header_line, row_line
from sweeper.store.tables import parquet_bytes

SPACE = """
name: generated
dataset: {{name: synthetic}}
training: {{epochs: {epochs}}}
parameters:
  loss: {{choices: [l1, cross_entropy, focal]}}
  gamma: {{low: 0.0, high: 5.0, when: {{loss: focal}}}}
  learning_rate: {{low: 1e-4, high: 1.0, log: true}}
  step_size: {{type: int, low: 2, high: 15}}
  step_gamma: {{low: 0.1, high: 0.9}}
compare: {{arms: loss, searches: 1, trials_per_arm: {per_arm}, seeds: {seeds}}}
search: {{pruner: none}}
"""
ARMS = ("l1", "cross_entropy", "focal")
SEEDS = 8
TEST_IMAGES = 10_000
FORMATS = ("table", "markdown", "csv", "json", "latex", "html")
RUNS = 5
"""Each format of each sweep is timed this often."""


def generate(results: Path, n_trials: int, n_epochs: int, *, logits: bool) -> SweepFolder:
    """Write a finished sweep in which nothing was pruned: as many rows of epochs as such a sweep can have."""
    rng = np.random.default_rng(1)
    per_arm = -(-n_trials // len(ARMS))
    space = parse_space(SPACE.format(epochs=n_epochs, per_arm=per_arm, seeds=SEEDS), "sweep.yaml")
    folder = SweepFolder(str(results / f"generated-{n_trials}x{n_epochs}"))
    folder.create()
    folder.write_space(dump_space(space))
    folder.write_provenance({"started_at": "2026-01-01T00:00:00+00:00", "dataset": {"name": "synthetic"}})
    configs = [_config(rng, arm, number) for arm in ARMS for number in range(per_arm)][:n_trials]
    configs += [_config(rng, arm, seed, Phase.CONFIRM) for arm in ARMS for seed in range(SEEDS)]
    ends = rng.uniform(0.1, 0.6, len(configs))
    _write_epochs(folder, rng, configs, ends, n_epochs)
    _write_trials(folder, space, configs, ends, n_epochs)
    if logits:
        for config in configs[n_trials:]:
            labels = np.arange(TEST_IMAGES) % 10
            values = rng.normal(size=(TEST_IMAGES, 10))
            values[np.arange(TEST_IMAGES), labels] += 2
            scores = log_softmax(values).astype(np.float32)
            parts = [Predictions("validation", np.arange(5_000), labels[:5_000], scores[:5_000])]
            folder.write_predictions(config, [*parts, Predictions("test", np.arange(TEST_IMAGES), labels, scores)])
    return folder


def _config(rng: np.random.Generator, arm: str, number: int, phase: Phase = Phase.SEARCH) -> TrialConfig:
    parameters = {
        "loss": arm,
        **({"gamma": float(rng.uniform(0, 5))} if arm == "focal" else {}),
        "learning_rate": float(10 ** rng.uniform(-4, 0)),
        "step_size": int(rng.integers(2, 16)),
        "step_gamma": float(rng.uniform(0.1, 0.9)),
        "momentum": 0.9,
        "weight_decay": 0.0,
        "batch_size": 128,
    }
    return TrialConfig(arm, phase, number, number, parameters)


def _write_epochs(folder: SweepFolder, rng: np.random.Generator, configs: list[TrialConfig], ends: np.ndarray, n_epochs: int) -> None:
    n_rows = len(configs) * n_epochs
    identity = {
        "sweep": [folder.id] * len(configs),
        "arm": [config.arm for config in configs],
        "phase": [str(config.phase) for config in configs],
        "trial": [config.trial_id for config in configs],
        "number": [config.number for config in configs],
    }
    columns = {name: pa.array(np.repeat(np.array(values, dtype=object), n_epochs)) for name, values in identity.items()}
    columns["epoch"] = pa.array(np.tile(np.arange(1, n_epochs + 1), len(configs)))
    curve = np.repeat(ends, n_epochs) * (1 - np.exp(-4 * np.tile(np.arange(1, n_epochs + 1), len(configs)) / n_epochs))
    for column in EPOCH_COLUMNS:
        if column.name not in columns:
            columns[column.name] = pa.array(curve + rng.normal(0, 0.01, n_rows))
    table = pa.table({column.name: columns[column.name] for column in EPOCH_COLUMNS})
    folder.folder.write("epochs/epochs.parquet", parquet_bytes(table, log_bytes=0))


def _write_trials(folder: SweepFolder, space: Space, configs: list[TrialConfig], ends: np.ndarray, n_epochs: int) -> None:
    rows = []
    for config, end in zip(configs, ends.tolist(), strict=True):
        is_confirm = config.phase is Phase.CONFIRM
        tests = ("loss", "accuracy", "nll", "brier", "ece", "nll_scaled", "brier_scaled", "ece_scaled")
        rows.append(
            {
                "sweep": folder.id,
                "arm": config.arm,
                "phase": str(config.phase),
                "trial": config.trial_id,
                "number": config.number,
                "study": config.arm,
                "seed": config.seed,
                "state": "complete",
                "value": end,
                "best_epoch": n_epochs,
                **{f"{when}_{name}": end for when in ("best", "last") for name in VAL_METRICS},
                **({f"test_{name}": end for name in tests} | {"temperature": 1.0} if is_confirm else {}),
                "epochs": n_epochs,
                "train_seconds": 2.0 * n_epochs,
                "device": "cpu",
                "attempts": 1,
                **{f"param_{name}": value for name, value in config.parameters.items()},
            }
        )
    log = b"".join([header_line(), *(row_line("trial", row) for row in rows)])
    folder.row_log.write_bytes(log)
    folder.write_tables(space.parameter_types(), len(log))


def measure(command: list[str]) -> tuple[float, float, int]:
    """Wall seconds, processor seconds and highest resident bytes of a command, its output thrown away.

    A child's highest memory counts that of its parent when it was born: this process stays small and generates in others.
    """
    started = time.perf_counter()
    process = os.posix_spawn(command[0], command, os.environ, file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)])
    _, status, usage = os.wait4(process, 0)
    seconds = time.perf_counter() - started
    if status != 0:
        raise SystemExit(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


def main() -> None:
    """Generate the sweeps, time each format, print one line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true")
    sizes = [(1_000, 30)] if parser.parse_args().small else [(1_000, 30), (10_000, 100)]
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("pandas", "pyarrow", "numpy", "scipy", "rich"))
    print(f"{platform.machine()}, {available_cores()} cores; python {platform.python_version()}, {versions}")
    print(f"{'trials':>8}{'epochs':>8}  {'logits':<9}{'format':<10}{'median s':>8}{'range s':>14}{'cpu s':>8}{'peak MB':>9}")
    with tempfile.TemporaryDirectory(prefix="sweeper-report-") as scratch:
        for (n_trials, n_epochs), logits in [(size, logits) for size in sizes for logits in (False, True)]:
            with ProcessPoolExecutor(1, get_context("spawn")) as pool:
                folder = pool.submit(generate, Path(scratch) / f"logits-{logits}", n_trials, n_epochs, logits=logits).result()
            for format_ in FORMATS:
                runs = [measure([sys.executable, "-m", "sweeper", "report", str(folder), "--format", format_]) for _ in range(RUNS)]
                seconds, processor, peaks = zip(*runs, strict=True)
                what = "10k x 24" if logits else "none"
                between = f"{min(seconds):.2f} to {max(seconds):.2f}"
                cells = f"{statistics.median(seconds):>8.2f}{between:>14}{statistics.median(processor):>8.2f}{max(peaks) / 1e6:>9.0f}"
                print(f"{n_trials:>8,}{n_epochs:>8,}  {what:<9}{format_:<10}{cells}", flush=True)


if __name__ == "__main__":
    main()
