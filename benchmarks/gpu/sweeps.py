"""``sweep run`` from end to end, watched through its row log: trials and trial-epochs an hour, and how busy the device was."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.gpu.run import REHEARSED_IMAGES, Run
from sweeper.store import SweepFolder
from sweeper.store.row_log import rows_of

ROOT = Path(__file__).resolve().parents[2]
LARGE = Path(__file__).with_name("large.yaml")
POLL_SECONDS = 0.25
SECONDS_TO_END = 12.0
"""Before the step is cut off a sweep is interrupted, as by Ctrl-C, and ends within ten seconds."""
REHEARSED = [
    *("--dataset", "synthetic", "--gpus-per-trial", "0", "--searches", "1", "--trials-per-arm", "2", "--epochs", "3", "--pack", "2"),
    *("--set", f"dataset.train_images={REHEARSED_IMAGES}", "--set", "dataset.test_images=200", "--set", "dataset.validation=100"),
]


def focal(run: Run) -> None:
    """The whole of ``search_spaces/focal.yaml``."""
    sweep(run, "focal.yaml", [str(ROOT / "search_spaces" / "focal.yaml"), *(["--seeds", "1"] if run.rehearsal else [])])


def large(run: Run) -> None:
    """768 trials of 5 epochs in packs of 256, none pruned."""
    sweep(run, "768 trials × 5 epochs, packs of 256", [str(LARGE)])


def sweep(run: Run, name: str, arguments: list[str]) -> None:
    """Run a sweep to its end, or as far as there is time, and record what its rows tell."""
    results = Path(run.scratch) / run.step
    results.mkdir()
    # with 1 GPU a trial it waits where Ray sees none, instead of training on the CPU
    where = REHEARSED if run.rehearsal else ["--dataset", "parquet", "--data-dir", run.data_dir, "--gpus-per-trial", "1"]
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "sweeper", "run", *arguments, *where, "--results", str(results), "--quiet"], cwd=ROOT)
    moments: list[float] = []  # at which epochs were first seen, and last
    seen, before, at, cut = 0, 0, 0, False
    epochs: list[dict[str, Any]] = []
    trials: list[dict[str, Any]] = []
    while True:
        ended = process.poll() is not None
        lines, at = new_lines(results, at)
        epochs += rows_of("epoch", lines)
        trials += rows_of("trial", lines)
        if len(epochs) > seen:
            moments = [*moments[:1], time.perf_counter() - began]
            seen, before = len(epochs), before or len(epochs)
        if ended:
            break
        if run.left() < SECONDS_TO_END and not cut:
            cut = True
            process.send_signal(signal.SIGINT)
        time.sleep(POLL_SECONDS)
    whole = time.perf_counter() - began
    if not moments:
        run.record("sweeps", name=name, problem=f"no epoch in {whole:.0f} s")
    else:
        run.record(
            "sweeps",
            name=name,
            cut=cut,
            exit=process.returncode,
            seconds=whole,
            trials=len(trials),
            trial_epochs=len(epochs),
            first_epoch=moments[0],
            warm_trial_epochs=len(epochs) - before,
            warm_seconds=moments[-1] - moments[0],
            in_epochs=sum(row["epoch_seconds"] for row in epochs),
            states=Counter(f"{trial['phase']} {trial['state']}" for trial in trials),
            devices=sorted({str(trial.get("device")) for trial in trials}),
        )
    if process.returncode and not cut:
        raise RuntimeError(f"sweep run ended with {process.returncode}")


def new_lines(results: Path, at: int) -> tuple[list[bytes], int]:
    """Whole lines of the only sweep's row log behind a position, and the position behind them."""
    folder = next((path for path in results.iterdir() if path.is_dir()), None)
    log = SweepFolder(str(folder)).row_log if folder else None
    if log is None or not log.exists():
        return [], at
    with log.open("rb") as file:
        file.seek(at)
        text = file.read()
    whole = text[: text.rfind(b"\n") + 1]
    return whole.splitlines(keepends=True), at + len(whole)
