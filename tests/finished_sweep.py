"""A small sweep that has really been run, once per test session, and how it was run."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from forked_python import fast_python

SPACE = """
name: tiny
dataset: {name: synthetic, train_images: 600, test_images: 100, validation: 100}
training: {epochs: 3, batch_size: 50}
parameters:
  loss: {choices: [cross_entropy, focal]}
  gamma: {low: 0.0, high: 5.0, when: {loss: focal}}
  learning_rate: {low: 1.0e-3, high: 1.0, log: true}
compare: {arms: loss, searches: 1, trials_per_arm: 4, seeds: 2}
search:
  sampler: {name: random}
  pruner: {name: successive_halving, min_resource: 1, reduction_factor: 2}
seed: 3
"""


@dataclass(frozen=True)
class FinishedSweep:
    """``results`` holds the one sweep in ``path``; ``stdout`` and ``stderr`` of the command that ran it, into pipes."""

    space: Path
    results: Path
    path: Path
    stdout: str
    stderr: str
    exit_code: int

    @property
    def id(self) -> str:
        return self.path.name


def sweep(*arguments, cwd=None, timeout=150, **options):
    """The command line in a process of its own, into pipes."""
    command = [fast_python(), "-m", "sweeper", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=timeout, check=False, **options)


def run_tiny_sweep(folder):
    space = folder / "tiny.yaml"
    space.write_text(SPACE)
    done = sweep("run", space, "--results", folder / "results", timeout=280)
    paths = list((folder / "results").iterdir())
    assert len(paths) == 1, done.stderr
    return FinishedSweep(space, folder / "results", paths[0], done.stdout, done.stderr, done.returncode)
