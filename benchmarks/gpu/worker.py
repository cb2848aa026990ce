"""What a worker does for its pack after each epoch beside training: weights to the host, checkpoints on the disk, the report."""

from __future__ import annotations

import time
from pathlib import Path

import ray
from ray import tune

from benchmarks.gpu.run import FOCAL_LOSSES, Run, members, spread
from sweeper.driver.messages import REPORT_KEY, PackReport, members_to_json
from sweeper.records import TrainingSettings
from sweeper.store import SweepFolder
from sweeper.tune.trainable import PackTrainable, TrialContext

LEAST_SECONDS = 5.0
SIZES = (32, 256)
SECONDS_EACH = 12.0
"""Of steps: longer than a worker may leave between two checkpoints of a pack."""


def measure(run: Run) -> None:
    """Seconds of the trainable's step, as Ray Tune calls it, without those of the engine; the first, which makes the pack, is left out."""
    ray.init(address="local", num_cpus=1, num_gpus=0, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    n_validation = 50 if run.rehearsal else 1000
    dataset = run.dataset(6 * n_validation)
    # far more epochs than there is time for: after its last one a trial is tested
    settings = TrainingSettings("convnet", 100_000, "batch", augment=True, validation=n_validation, evaluate_on="validation")
    sizes = (2, 4) if run.rehearsal else SIZES
    for i, n in enumerate(sizes):
        if run.left() < LEAST_SECONDS:
            run.record("worker", k=n, problem="no time was left")
            continue
        ends = time.time() + min(1.0 if run.rehearsal else SECONDS_EACH, (run.left() - 2) / (len(sizes) - i))
        folder = SweepFolder(str(Path(run.scratch) / f"checkpoints-{n}"))
        folder.create()
        context = TrialContext(folder, settings, 1, run.device)
        trainable = tune.with_parameters(PackTrainable, context=context, dataset=dataset)
        worker = trainable({"members": members_to_json(members(n, FOCAL_LOSSES))})
        worker.step()
        beside, whole = [], 0.0
        while not beside or time.time() < ends:
            started = time.perf_counter()
            report = PackReport.from_json(worker.step()[REPORT_KEY])
            took = time.perf_counter() - started
            beside.append(took - sum(figures[-1].epoch_seconds for figures in report.epochs.values()))
            whole += took
        run.record("worker", k=n, images=len(dataset.train_labels) - n_validation, share=sum(beside) / whole, **spread(beside))
        worker.stop()
    ray.shutdown()
