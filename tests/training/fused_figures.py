"""What can be known of the fused kernels without a GPU, as the two tables of ``docs/performance.md``.

    python tests/training/fused_figures.py

The largest difference from plain PyTorch for each loss, after two epochs of 200 images with the kernels emulated on the CPU; and registers,
spills and shared memory by NVRTC for GPUs of four generations.
"""

import re
import sys

import numpy as np
import torch
from emulation import EmulatedKernels
from plain_pytorch import PlainTrial
from toy_trials import LOSSES, config, random_dataset, settings

from sweeper.training.engine import Pack
from sweeper.training.gpu import nvrtc
from sweeper.training.gpu.geometry import Geometry
from sweeper.training.model import ConvNet

SHARED_MEMORY = {"75": (65_536, 65_536), "80": (166_912, 167_936), "89": (101_376, 102_400), "90": (232_448, 233_472)}
"""Bytes that one block may have, and that all blocks of a multiprocessor share, by compute capability (CUDA programming guide, 20.2)."""


def differences():
    """Rows of the first table."""
    dataset = random_dataset()
    for loss in LOSSES[:8]:
        member = config(0, **loss, learning_rate=0.01, batch_size=60)
        pack, plain = Pack(dataset, settings(), [member], backend=EmulatedKernels), PlainTrial(dataset, settings(), member)
        for _ in range(2):
            found = pack.train_epoch()[member.trial_id]
            train_loss, _, val_loss, _ = plain.train_epoch()
        state = pack.state(member.trial_id)
        weights = max(np.abs(state[f"weights/{name}"] - expected).max() for name, expected in plain.weights().items())
        yield loss["loss"], abs(found.train_loss / train_loss - 1), abs(found.val_loss / val_loss - 1), weights


def resources(architecture):
    """Rows of the second table for one compute capability."""
    account = r"entry function '(\w+)'.*?(\d+) bytes spill stores, (\d+) bytes spill loads\n.*?Used (\d+) registers"
    geometry = Geometry.fitting(ConvNet(32, 32, 10), *SHARED_MEMORY[architecture])
    _, log = nvrtc.compile_kernels(geometry, architecture)
    for kernel, stores, loads, registers in re.findall(account, log, re.DOTALL):
        threads, in_shared = geometry.block(kernel)
        yield kernel, geometry.tile, threads, int(registers), int(stores) + int(loads), in_shared


def main():
    write = sys.stdout.write
    torch.set_num_threads(1)
    write("| loss | training loss, relative | validation loss, relative | weights, largest |\n|---|---:|---:|---:|\n")
    for loss, *figures in differences():
        write(f"| {loss} | {' | '.join(f'{figure:.0e}' for figure in figures)} |\n")
    columns = ("GPU", "kernel", "images a block", "threads", "registers", "bytes spilled", "bytes of shared memory")
    write(f"\n| {' | '.join(columns)} |\n|---|---|{'---:|' * 5}\n")
    for architecture in SHARED_MEMORY:
        for kernel, *figures in resources(architecture):
            write(f"| sm_{architecture} | {kernel} | {' | '.join(f'{figure:,}' for figure in figures)} |\n")


if __name__ == "__main__":
    main()
