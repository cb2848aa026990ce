"""Seconds of an epoch by the number of members: each backend, all members on one stream of batches or each on its own."""

from __future__ import annotations

import torch

from benchmarks.ceiling import operations
from benchmarks.gpu.run import FOCAL_LOSSES, VALIDATION_SHARE, Run, make_pack, members, spread
from sweeper.data import Dataset
from sweeper.errors import SweeperError

SIZES = (1, 8, 16, 32, 64, 132, 256, 512, 1024)
EPOCHS = 3
"""Epochs that are timed, fewer where the time is short."""
SECONDS_KEPT = 2.0
"""Of the step, for what ends it."""


def measure(run: Run) -> None:
    """All sizes in ascending order; at each the backends in turn, so that they see the same state of the machine."""
    torch.set_num_threads(1)  # as a pack under Ray
    dataset = run.dataset()
    n_validation = int(VALIDATION_SHARE * len(dataset.train_labels))
    work = operations(len(dataset.train_labels) - n_validation, n_validation)
    left_out: dict[tuple[str, bool], str] = {}
    for backend, problem in run.available_backends(dataset):
        if problem:
            run.record("epochs", backend=backend, problem=problem)
            left_out |= {(backend, own): problem for own in (False, True)}
    each: dict[tuple[str, bool], float] = {}
    for n in (1, 3) if run.rehearsal else SIZES:
        for backend in run.backends:
            for own in (False, True) if n > 1 else (False,):
                way = (backend, own)
                row = {"backend": backend, "k": n, "own_streams": own, "operations": work}
                if way in left_out:
                    continue
                if 1.5 * n * each.get(way, 0.0) > run.left() - SECONDS_KEPT:
                    left_out[way] = "no time was left, here and above"
                else:
                    try:
                        found = timed(run, dataset, n_validation, n, backend, own)
                    except (RuntimeError, SweeperError) as error:  # cuDNN and cuBLAS have out-of-memory errors of their own
                        is_full = isinstance(error, torch.OutOfMemoryError) or "alloc" in str(error).lower()
                        left_out[way] = "out of memory, here and above" if is_full else f"failed: {str(error).splitlines()[0]}"
                    else:
                        each[way] = found["median"] / n
                        run.record("epochs", **row, **found)
                if way in left_out:
                    run.record("epochs", **row, problem=left_out[way])
                if not run.rehearsal:
                    torch.cuda.empty_cache()


def timed(run: Run, dataset: Dataset, n_validation: int, n: int, backend: str, own: bool) -> dict[str, float]:
    """Wall seconds of epochs of one pack, and the most bytes that its tensors held on the device."""
    configs = members(n, FOCAL_LOSSES, own_streams=own)
    small = run.dataset(n_validation + 3 * 128 + 72)  # whole batches, the last one, and evaluation, as in a whole epoch
    make_pack(small, n_validation, configs, run.device, backend).train_epoch()
    if not run.rehearsal:
        torch.cuda.reset_peak_memory_stats()
    pack = make_pack(dataset, n_validation, configs, run.device, backend)
    found = spread(run.timed_epochs(pack.train_epoch, EPOCHS, SECONDS_KEPT))
    return found | ({} if run.rehearsal else {"peak_bytes": torch.cuda.max_memory_allocated()})
