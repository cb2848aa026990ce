"""Sweeps, ours and its peers', in one run on the same cores: time per trial-epoch, trials per hour, overhead per trial, memory.

    python -m benchmarks                                all of them, on CIFAR-10: about fifteen minutes on 2 cores
    python -m benchmarks --only stock_tune --only ours  some of them: ratios are those within one run, and need both
    python -m benchmarks --only ours --epochs 3 --our-trials 64     sweeps of about a minute, K = 1, 4, 8, 16, 32 and auto
    python -m benchmarks --repeats 5 --our-trials 64 --out table.md

notebook    the notebook's loop (torchvision transforms, a DataLoader with 2 workers), trials one after the other
stock_tune  that loop as a function trainable of Ray Tune with its OptunaSearch and ASHA, one trial per core side by side
optuna      our engine called from plain study.optimize, on one core
ours        `sweep run` with --pack 1, 4, 8, 16, 32 and auto, one pack per core side by side

Every row is a process of its own and trains the same images for the same epochs; nothing is pruned. Seconds per trial-epoch are those that
trials spent in epochs, divided by the trial-epochs and by the trials (or packs) side by side: what the machine needs for one when all is
warm. End to end is everything, the start of Ray, imports and reading data included. The overhead per trial is measured with sweeps that
train nothing, a short and a longer one: their difference divided by the trials that the longer one has more. Memory is that of all
processes of a sweep at once. The ceiling is the fastest float32 matrix product seen on all cores. The last column is the end-to-end time
over that of the fastest of our sweeps of as many trials: seconds in epochs leave out cores that are idle at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path

import pandas as pd

from benchmarks.ceiling import matrix_product_rate, operations
from benchmarks.epoch import DEFAULT_DATA
from benchmarks.processes import timed
from sweeper.store.provenance import available_cores, processor

NAMES = ("notebook", "stock_tune", "optuna", "ours")
PACKS = ("1", "4", "8", "16", "32", "auto")
VALIDATION_SHARE = 0.1
TRAINING = '{{name: parquet, data_dir: "{data_dir}", validation: {validation}}}'
NO_TRAINING = "{name: synthetic, train_images: 20, test_images: 10, validation: 10}"
SPACE = """
name: benchmark
dataset: {dataset}
training: {{epochs: {epochs}, batch_size: 128}}
parameters:
  loss: cross_entropy
  learning_rate: {{low: 1.0e-3, high: 1.0e-1, log: true}}
compare: {{trials_per_arm: {trials}, seeds: 0}}
search: {{sampler: random, pruner: none}}
resources: {{cpus_per_trial: 1, gpus_per_trial: 0}}
"""


@dataclass
class Row:
    """A sweep of the table: how to run it once, and what its runs measured."""

    name: str
    trials: int
    run: Callable[[], Measured]
    measured: list[Measured] = field(default_factory=list)

    def median(self, figure: str) -> float:
        return statistics.median(getattr(each, figure) for each in self.measured)


@dataclass(frozen=True, slots=True)
class Measured:
    """One run. ``in_epochs``: seconds in epochs of all trials, divided by those side by side; ``report``: seconds of ``sweep report``."""

    seconds: float
    in_epochs: float
    memory_bytes: int
    report: float = 0.0


def peer(name: str, data_dir: Path, validation: int, trials: int, epochs: int) -> Measured:
    """A run of one of ``benchmarks.peers``."""
    done = timed(["benchmarks.peers", name, data_dir, validation, trials, epochs])
    told = json.loads(done.output.splitlines()[-1])
    return Measured(done.seconds, sum(told["seconds"]) / told["side_by_side"], done.peak_memory_bytes or 0)


def sweep_run(pack: str, dataset: str, trials: int, epochs: int) -> Measured:
    """A run of ``sweep run``, and of ``sweep report`` on what it left."""
    with tempfile.TemporaryDirectory() as folder:
        space = Path(folder) / "space.yaml"
        space.write_text(SPACE.format(dataset=dataset, trials=trials, epochs=epochs))
        done = timed(["sweeper", "run", space, "--pack", pack, "--results", f"{folder}/results", "--quiet"])
        (results,) = Path(folder, "results").iterdir()
        rows = pd.read_parquet(results / "epochs")
        if len(rows) != trials * epochs:
            raise RuntimeError(f"sweep run left {len(rows)} epochs instead of {trials * epochs}")
        report = timed(["sweeper", "report", results])
        return Measured(done.seconds, rows["epoch_seconds"].sum() / available_cores(), done.peak_memory_bytes or 0, report.seconds)


def training_rows(options: argparse.Namespace, chosen: Sequence[str], validation: int) -> list[Row]:
    """Sweeps that train, in the order of the table."""
    data_dir, epochs = options.data_dir.resolve(), options.epochs
    sizes = {"notebook": 1, "stock_tune": options.trials, "optuna": options.our_trials // 4}
    rows = [Row(name, n, partial(peer, name, data_dir, validation, n, epochs)) for name, n in sizes.items() if name in chosen]
    if "ours" in chosen:
        dataset = TRAINING.format(data_dir=data_dir, validation=validation)
        for pack, n in (("1", options.trials), *((pack, options.our_trials) for pack in PACKS)):
            rows.append(Row(f"sweep run --pack {pack}", n, partial(sweep_run, pack, dataset, n, epochs)))
    return rows


def idle_rows(options: argparse.Namespace, chosen: Sequence[str]) -> list[tuple[Row, Row]]:
    """Pairs of sweeps that train nothing, a short one and a longer one."""
    short, pairs = available_cores(), []
    if "stock_tune" in chosen:
        run = partial(peer, "stock_tune", options.data_dir.resolve(), 0)
        pairs.append((Row("stock_tune", short, partial(run, short, 0)), Row("stock_tune", short + 6, partial(run, short + 6, 0))))
    if "ours" in chosen:
        run = partial(sweep_run, "1", NO_TRAINING)
        name = "sweep run --pack 1"
        pairs.append((Row(name, short, partial(run, short, 1)), Row(name, short + 96, partial(run, short + 96, 1))))
    return pairs


def training_table(rows: Sequence[Row], epochs: int, n_operations: int, ceiling: float) -> list[str]:
    """Markdown lines of the sweeps that train; times faster than the notebook and than stock Ray Tune."""
    each = [row.median("in_epochs") / row.trials / epochs for row in rows]
    bases = [next((e for row, e in zip(rows, each, strict=True) if row.name == name), None) for name in ("notebook", "stock_tune")]
    names = "sweep|trials|s per trial-epoch (range)|notebook's ÷ it|stock_tune's ÷ it|s end to end|trials per hour|peak MB|ceiling"
    names += "|÷ our fastest"
    ours = [row for row in rows if row.name.startswith("sweep run")]
    lines = [f"| {names.replace('|', ' | ')} |", "|---" + "|---:" * names.count("|") + "|"]
    for row, seconds in zip(rows, each, strict=True):
        whole = row.median("seconds")
        runs = [run.in_epochs / row.trials / epochs for run in row.measured]
        cells = [
            row.name,
            str(row.trials),
            f"{seconds:.3f} ({min(runs):.3f} – {max(runs):.3f})",
            *(f"{base / seconds:.1f}" if base else "–" for base in bases),
            f"{whole:.1f}",
            f"{3600 * row.trials / whole:.0f}",
            f"{row.median('memory_bytes') / 1e6:.0f}",
            f"{n_operations / seconds / ceiling:.1%}",
            f"{whole / min(each.median('seconds') for each in ours if each.trials == row.trials):.2f}" if row in ours else "–",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def idle_table(pairs: Sequence[tuple[Row, Row]]) -> list[str]:
    """Markdown lines of the sweeps that train nothing."""
    lines = ["| sweep, nothing trained | trials | s end to end | s per trial more | stock_tune's ÷ it |", "|---|---:|---:|---:|---:|"]
    base = None
    for short, longer in pairs:
        more = (longer.median("seconds") - short.median("seconds")) / (longer.trials - short.trials)
        base = base or (more if short.name == "stock_tune" else None)
        ratio = f"{base / more:.0f}" if base else "–"
        lines.append(
            f"| {short.name} | {short.trials} and {longer.trials} | {short.median('seconds'):.1f} and {longer.median('seconds'):.1f} "
            f"| {more:.3f} | {ratio} |"
        )
    return lines


def main() -> None:
    """Run the benchmark and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=NAMES, help="a row; may be repeated (default: all)")
    parser.add_argument("--data-dir", type=Path, default=DEFAULT_DATA, help="train.parquet and test.parquet with img.bytes and label")
    parser.add_argument("--trials", type=int, default=2, help="trials of stock_tune, and of one row of ours (default 2; notebook: 1)")
    parser.add_argument("--our-trials", type=int, default=32, help="trials of our longer sweeps (default 32; optuna: a quarter)")
    parser.add_argument("--epochs", type=int, default=1, help="epochs of every trial (default 1)")
    parser.add_argument("--repeats", type=int, default=2, help="runs of each row, interleaved; medians are printed (default 2)")
    parser.add_argument("--out", type=Path, help="write the tables there too")
    options = parser.parse_args()
    chosen = options.only or NAMES
    n_images = len(pd.read_parquet(options.data_dir / "train.parquet", columns=["label"]))
    validation = int(VALIDATION_SHARE * n_images)
    training, idle = training_rows(options, chosen, validation), idle_rows(options, chosen)
    started, load = time.perf_counter(), os.getloadavg()[0]
    ceiling = 0.0  # measured again and again: other work on the machine only ever lowers it
    for repeat in range(options.repeats):
        for row in [*training, *(row for pair in idle for row in pair)]:
            row.measured.append(row.run())
            ceiling = max(ceiling, matrix_product_rate(available_cores()))
            print(f"{repeat + 1}/{options.repeats} {row.name}, {row.trials} trials: {row.measured[-1].seconds:.1f} s", flush=True)
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "torchvision", "ray", "optuna", "numba"))
    reports = [each.report for row in training for each in row.measured if each.report]
    lines = [
        (
            f"{options.epochs} epoch(s) of {n_images - validation} images, {validation} evaluated; {available_cores()} cores of "
            f"{processor()}, {ceiling / 1e9:.0f} GFLOP/s in a matrix product; GPU: not measured; Python {platform.python_version()}, "
            f"{versions}; medians of n = {options.repeats} interleaved run(s), {time.perf_counter() - started:.0f} s in all; "
            f"load {load:.1f} before."
        ),
        "",
        *training_table(training, options.epochs, operations(n_images - validation, validation), ceiling),
        "",
        *idle_table(idle),
    ]
    if reports:
        lines += ["", f"`sweep report` on the sweeps above: {statistics.median(reports):.2f} s (median of {len(reports)})."]
    text = "\n".join(lines) + "\n"
    print("\n" + text)
    if options.out:
        options.out.write_text(text)


if __name__ == "__main__":
    main()
