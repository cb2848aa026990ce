"""How much arithmetic a trial-epoch is, and how much of it this machine could do in a second."""

from __future__ import annotations

import time

import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.epoch import NotebookNet

SIZE = 2048
REPEATS = 8


def matrix_product_rate(n_threads: int) -> float:
    """Float32 operations a second of a large matrix product, the most that these cores were seen to do: the best of :data:`REPEATS`."""
    threads_before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        left, right = torch.rand(SIZE, SIZE), torch.rand(SIZE, SIZE)
        seconds = []
        for _ in range(1 + REPEATS):
            started = time.perf_counter()
            torch.mm(left, right)
            seconds.append(time.perf_counter() - started)
        return float(2 * SIZE**3 / min(seconds[1:]))
    finally:
        torch.set_num_threads(threads_before)


def operations(n_train: int, n_evaluated: int) -> int:
    """Float32 operations of one trial-epoch of the ConvNet as PyTorch counts them: products and sums of convolutions and linear layers."""
    net = NotebookNet()
    with FlopCounterMode(display=False) as training:
        F.cross_entropy(net(torch.zeros(1, 3, 32, 32)), torch.zeros(1, dtype=torch.int64)).backward()
    with FlopCounterMode(display=False) as evaluation, torch.no_grad():
        net(torch.zeros(1, 3, 32, 32))
    return int(n_train * training.get_total_flops() + n_evaluated * evaluation.get_total_flops())
