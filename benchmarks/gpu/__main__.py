"""What the engine, sweeps and their peers do on this machine's GPU, in one run and in less than nine minutes.

    python -m benchmarks.gpu                                all steps, at most 540 s
    python -m benchmarks.gpu epochs sweep stock_tune        some of them, after `machine`, whose ceilings they are compared with
    python -m benchmarks.gpu --rehearse --seconds 300       all steps on the CPU with tiny sizes: does everything work?

machine      versions, ceilings (matrix products, copies), cost of a launch
epochs       K = 1 ... 1,024 by backend, on one stream and on streams of their own: time, share of the fp32 ceiling, peak memory
agreement    curves of all losses against the CPU's; is a packed trial one alone, and a repeated run the same, to the bit?
notebook     the notebook's loop on the GPU, with 2 and 16 processes that prepare images
sweep        `sweep run search_spaces/focal.yaml`, whole
stock_tune   the notebook's loop under stock Ray Tune, one trial on the GPU and eight side by side
accuracy     16 seeds on the GPU and on the CPU, for as many epochs as there is time
checkpoints  what a worker does for its pack after an epoch beside training
large_sweep  768 trials of 5 epochs in packs of 256

Every step is a process of its own and is cut off when its share of the time is over; what it measured until then stays. The folder of
--output gets `summary.md`, Markdown tables for `benchmarks/results/gpu.md`, and `measurements.jsonl`, every figure as it was measured.
Without a CUDA device it ends with code 2 and writes nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import torch

from benchmarks.epoch import DEFAULT_DATA
from benchmarks.gpu.run import Run
from benchmarks.gpu.steps import STEPS
from benchmarks.gpu.tables import markdown

RESULTS = Path(__file__).resolve().parents[1] / "results"
LEAST_SECONDS = 5.0
"""A step with less is not begun."""
SECONDS_TO_END = 10.0
"""Between asking a step to end and ending it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the steps; 0 where all ended well or were cut off, 1 where one failed, 2 where none could begin."""
    parser = argparse.ArgumentParser("python -m benchmarks.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("steps", nargs="*", metavar="STEP", help=f"{', '.join(STEPS)} (default: all)")
    parser.add_argument("--seconds", type=float, default=540.0, help="for everything (default 540)")
    parser.add_argument("--output", type=Path, help="a new folder for summary.md and measurements.jsonl (default: gpu- and the time)")
    parser.add_argument("--data-dir", type=Path, default=DEFAULT_DATA, help="train.parquet and test.parquet with img.bytes and label")
    parser.add_argument("--rehearse", action="store_true", help="tiny sizes on the CPU: no figure of it says anything about a GPU")
    options = parser.parse_args(arguments)
    output: Path = options.output or Path(f"gpu-{datetime.now():%Y%m%d-%H%M%S}")
    if problem := problem_of(options, output):
        print(f"benchmarks.gpu: {problem}", file=sys.stderr)
        return 2
    output.mkdir(parents=True, exist_ok=True)
    chosen = [name for name in STEPS if name == "machine" or name in (options.steps or STEPS)]
    ends, outcomes = time.time() + options.seconds, []
    with tempfile.TemporaryDirectory(prefix="benchmarks-gpu-") as scratch:
        for i, name in enumerate(chosen):
            share = STEPS[name].share / sum(STEPS[each].share for each in chosen[i:])
            until = time.time() + share * (ends - time.time())
            run = Run(name, str(output.resolve()), scratch, str(options.data_dir.resolve()), options.rehearse, until)
            outcomes.append(outcome(run))
            write_summary(output, options.rehearse)
    print(f"\n{(output / 'summary.md').read_text()}\nwritten to {output}")
    return int(any(each.startswith("failed") for each in outcomes))


def problem_of(options: argparse.Namespace, output: Path) -> str | None:
    """Why nothing can be measured."""
    if unknown := [name for name in options.steps if name not in STEPS]:
        return f"no such step: {', '.join(unknown)}; the steps are {', '.join(STEPS)}"
    if (output / "measurements.jsonl").exists():
        return f"--output {output} holds the measurements of another run; name a new folder"
    if options.rehearse:
        within = output.resolve().is_relative_to(RESULTS)
        return (
            f"--output {output}: a rehearsal measures nothing and writes nothing below {RESULTS.name}/; name another folder"
            if within
            else None
        )
    if not torch.cuda.is_available():
        return "no CUDA device is here, so nothing is measured (`--rehearse` tries the steps on the CPU)"
    if not (options.data_dir / "train.parquet").exists():
        return f"--data-dir {options.data_dir}: no train.parquet is there; CIFAR-10 as Parquet files is needed"
    return None


def outcome(run: Run) -> str:
    """How a step went, after it: in a process group of its own, which is ended when its time is over."""
    if run.left() < LEAST_SECONDS:
        said, seconds = "not begun: no time was left", 0.0
    else:
        print(f"\n{run.step}, at most {run.left():.0f} s", flush=True)
        started = time.time()
        process = subprocess.Popen([sys.executable, "-m", "benchmarks.gpu.steps", run.step, run.to_json()], start_new_session=True)
        try:
            code = process.wait(max(0.0, run.left()))
            said = "done" if code == 0 else f"failed with {code}"
        except subprocess.TimeoutExpired:
            said = "cut off: its time was over"
        finally:
            end(process)
        seconds = time.time() - started
    run.record("steps", name=run.step, outcome=said, seconds=seconds)
    return said


def end(process: subprocess.Popen[bytes]) -> None:
    """End a step that still runs, with whatever it has started."""
    for sent in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, sent)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(SECONDS_TO_END)


def write_summary(output: Path, rehearsal: bool) -> None:
    """The tables of all that is measured so far, replaced in one step."""
    measurements = output / "measurements.jsonl"
    records = [json.loads(line) for line in measurements.read_text().splitlines()]
    heading = (
        "# REHEARSAL on the CPU: these are not measurements of a GPU"
        if rehearsal
        else f"# Measured on a GPU\n\n`python -m benchmarks.gpu`, {datetime.now(UTC):%Y-%m-%d}; medians (lowest – highest) of n."
    )
    aside = output / "summary.tmp"
    aside.write_text(markdown(records, heading, "REHEARSAL: " if rehearsal else ""))
    aside.replace(output / "summary.md")


if __name__ == "__main__":
    sys.exit(main())
