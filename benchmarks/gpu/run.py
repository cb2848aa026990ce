"""What the steps of one run share: the device, the images, the time that is left, and where figures go as soon as they are known."""

from __future__ import annotations

import json
import os
import pickle
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch

from benchmarks.epoch import SETTINGS
from benchmarks.gpu.tables import line
from sweeper.data import Dataset, load_dataset
from sweeper.errors import SweeperError
from sweeper.records import Phase, TrainingSettings, TrialConfig
from sweeper.training.engine import Pack

VALIDATION_SHARE = 0.1
REHEARSED_IMAGES = 600
FOCAL_LOSSES: Sequence[Mapping[str, Any]] = ({"loss": "l1"}, {"loss": "cross_entropy"}, {"loss": "focal", "gamma": 2.0})
"""The losses of ``search_spaces/focal.yaml``."""


@dataclass(frozen=True, slots=True)
class Run:
    """One step of one run. ``ends``: when the step is cut off, by ``time.time()``; ``scratch``: a folder that goes when the run ends.

    A rehearsal trains generated images on the CPU, few of them.
    """

    step: str
    output: str
    scratch: str
    data_dir: str
    rehearsal: bool
    ends: float

    @classmethod
    def from_json(cls, text: str) -> Run:
        """The run that :meth:`to_json` wrote."""
        return cls(**json.loads(text))

    def to_json(self) -> str:
        """As text, for the process of the step."""
        return json.dumps(asdict(self))

    @property
    def device(self) -> str:
        """Where the step trains."""
        return "cpu" if self.rehearsal else "cuda"

    @property
    def backends(self) -> tuple[str, ...]:
        """Names of the engine's ways to train on this device; ``launches``: by operators, of which no graph is made."""
        return ("lanes", "operators") if self.rehearsal else ("launches", "operators", "fused")

    def left(self) -> float:
        """Seconds until this step is cut off."""
        return self.ends - time.time()

    def record(self, table: str, **figures: Any) -> None:
        """Write figures to ``measurements.jsonl`` and to the standard output; they are on the disk when this returns."""
        with (Path(self.output) / "measurements.jsonl").open("a") as file:
            file.write(json.dumps({"step": self.step, "table": table, "row": figures}) + "\n")
            file.flush()
            os.fsync(file.fileno())
        print(line(table, figures), flush=True)

    def synchronise(self) -> None:
        """Wait until the device has done all that it was given."""
        if not self.rehearsal:
            torch.cuda.synchronize()

    def dataset(self, n_train: int | None = None) -> Dataset:
        """The images of the run, or the first of those that train; read once for all steps."""
        kept = Path(self.scratch) / "dataset.pickle"
        if not kept.exists():
            whole = (
                load_dataset("synthetic", train_images=REHEARSED_IMAGES, test_images=200)
                if self.rehearsal
                else load_dataset("parquet", self.data_dir)
            )
            kept.write_bytes(pickle.dumps(whole))
        dataset = cast(Dataset, pickle.loads(kept.read_bytes()))  # noqa: S301  written above
        return replace(dataset, train_images=dataset.train_images[:n_train], train_labels=dataset.train_labels[:n_train])

    def timed_epochs(self, epoch: Callable[[], object], most: int, reserve: float = 0.0) -> list[float]:
        """Wall seconds of at least one epoch and at most so many, as long as another one leaves ``reserve`` seconds of the step."""
        seconds: list[float] = []
        while not seconds or (len(seconds) < most and self.left() - 1.2 * max(seconds) > reserve):
            started = time.perf_counter()
            epoch()
            self.synchronise()
            seconds.append(time.perf_counter() - started)
        return seconds

    def available_backends(self, dataset: Dataset) -> Iterator[tuple[str, str | None]]:
        """Each backend by name, with the reason why it cannot be had, if it cannot."""
        ran: dict[tuple[object, ...], str] = {}
        for name in self.backends:
            try:
                pack = make_pack(dataset, 100, [], self.device, name)
            except (SweeperError, ValueError) as error:
                yield name, str(error).splitlines()[0]
                continue
            kind = type(pack._backend), type(pack._fused), pack._capture_of_steps()  # what really trains, whatever it was called
            yield name, f"trains as {ran[kind]} does" if kind in ran else None
            ran.setdefault(kind, name)


def make_pack(dataset: Dataset, n_validation: int, members: Sequence[TrialConfig], device: str, backend: str | None = None) -> Pack:
    """Members in a pack that evaluates on validation images after each epoch."""
    settings = TrainingSettings("convnet", 30, "batch", augment=True, validation=n_validation, evaluate_on="validation")
    return pack_by(backend, dataset, settings, members, device)


def pack_by(backend: str | None, dataset: Dataset, settings: TrainingSettings, members: Sequence[TrialConfig], device: str) -> Pack:
    """Members in a pack that trains by one of :attr:`Run.backends`, or as a sweep would."""
    if backend == "launches":
        return Pack(dataset, settings, members, device, "operators", capture=None)
    return Pack(dataset, settings, members, device, backend=cast(Any, backend))


def members(n: int, losses: Sequence[Mapping[str, Any]], *, own_streams: bool = False, **parameters: Any) -> list[TrialConfig]:
    """Trials that take the losses in turn; all read the same batches, or each its own."""
    return [
        TrialConfig("gpu", Phase.SEARCH, i, i if own_streams else 1, {**SETTINGS, **losses[i % len(losses)], **parameters})
        for i in range(n)
    ]


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Median, lowest, highest and number of repeated measurements, for a row."""
    return {"median": statistics.median(values), "low": min(values), "high": max(values), "n": len(values)}
