"""The notebook's loop on this GPU, by itself and under stock Ray Tune."""

from __future__ import annotations

import time

import torch

from benchmarks import peers
from benchmarks.epoch import notebook_epoch
from benchmarks.gpu.run import VALIDATION_SHARE, Run, spread
from sweeper.store.provenance import available_cores


def notebook(run: Run) -> None:
    """Seconds of an epoch with 2 processes that prepare images, and with as many as there are cores, 16 at most."""
    dataset = run.dataset()
    n_validation = int(VALIDATION_SHARE * len(dataset.train_labels))
    counts = sorted({2, min(available_cores(), 16)})
    for i, n_workers in enumerate(counts):
        small = run.dataset(n_validation + 2 * 128)
        notebook_epoch(small, n_validation, n_workers, device=run.device)()  # starts the device and its libraries
        epoch = notebook_epoch(dataset, n_validation, n_workers, device=run.device)
        found = run.timed_epochs(epoch, 3, reserve=run.left() * (1 - 1 / (len(counts) - i)))
        run.record("peers", name="notebook", side_by_side=1, workers=n_workers, **spread(found))


def stock_tune(run: Run) -> None:
    """Seconds of a trial-epoch under Ray Tune, OptunaSearch and ASHA: one trial on the GPU, and eight that share it."""
    torch.set_num_threads(1)
    dataset = run.dataset()
    n_validation = int(VALIDATION_SHARE * len(dataset.train_labels))
    for side_by_side, trials in ((1, 2), (2 if run.rehearsal else 8, 2 if run.rehearsal else 8)):
        started = time.perf_counter()
        _, seconds = peers.stock_tune(dataset, n_validation, trials, 1, side_by_side, run.device)
        run.record(
            "peers",
            name="stock_tune",
            side_by_side=side_by_side,
            workers=2,
            end_to_end=time.perf_counter() - started,
            **spread([each / side_by_side for each in seconds]),
        )
