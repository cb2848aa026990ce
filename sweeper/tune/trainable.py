"""The class that Ray Tune runs on a device: one call of :meth:`PackTrainable.step` is one epoch of every member.

The process and the data on its device outlive a trial: Tune reuses the actor, and the next pack starts without importing torch again. The
driver, which names the class to Tune and trains nothing, does without torch: it is imported where it is used.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import ray
from ray import tune

from sweeper.data import Dataset
from sweeper.driver.messages import NODE_KEY, REPORT_KEY, Failure, PackReport, members_from_json
from sweeper.errors import StoreError, TrainingError
from sweeper.metrics import METRICS, fit_temperature
from sweeper.records import EpochMetrics, Phase, Predictions, TestMetrics, TrainingSettings, TrialConfig
from sweeper.store import Checkpoint, PackCheckpoint, SweepFolder, stored_precision

if TYPE_CHECKING:
    from sweeper.training.custom_loss import MemberFailure
    from sweeper.training.engine import Pack
    from sweeper.training.loop import Loops
    from sweeper.training.packs import Packs

SECONDS_BETWEEN_CHECKPOINTS = 5.0
"""Least time between two checkpoints of a pack, but for its first: a crash costs at most so much training and the epoch under way, and a
pack whose epochs take a twentieth of a second does not write a hundred files for it."""


@dataclass(frozen=True, slots=True)
class TrialContext:
    """What all packs of a sweep share. ``threads``: cores that one pack may use on the CPU; ``device``: ``cpu`` or ``cuda``."""

    folder: SweepFolder
    settings: TrainingSettings
    threads: int
    device: str


class PackTrainable(tune.Trainable):
    """Trains the members it is given until the scheduler has taken the last one away."""

    def setup(self, config: dict[str, Any], context: TrialContext, dataset: Dataset) -> None:  # type: ignore[override]
        """Take a device, move the data there, take in the first members."""
        import torch

        from sweeper.training.device import missing_device
        from sweeper.training.loop import make_pack

        torch.set_num_threads(context.threads)
        self._node = ray.get_runtime_context().get_node_id()
        self._context = context
        self._refused = missing_device(context.device)  # told by the first step: Tune would try again and again what fails here
        if self._refused is None:
            try:
                self._pack = make_pack(dataset, context.settings, [], context.device)
            except TrainingError as error:
                self._refused = str(error)
        self._history: dict[str, list[EpochMetrics]] = {}
        self._configs: dict[str, TrialConfig] = {}
        self._unreported: set[str] = set()
        self._failures: dict[str, Failure] = {}
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Start another pack in this process."""
        self._drop(list(self._configs))
        self._begin(new_config)
        return True

    def _begin(self, config: dict[str, Any]) -> None:
        self._waiting = members_from_json(config["members"])
        self._next_checkpoint = 0.0
        self._has_learnt = False
        self._in_file: set[str] = set()

    def change_members(self, remove: list[str], add: str) -> None:
        """Called by the scheduler between two epochs."""
        self._drop(remove)
        self._waiting += members_from_json(add)

    def step(self) -> dict[str, Any]:
        """One epoch of every member; a member whose checkpoint holds its last epoch is only reported."""
        if self._refused is not None:
            return self._result(PackReport("none", fatal=self._refused))
        try:
            self._take_in()
            report = self._epoch()
        except StoreError as error:
            report = PackReport(self._device_name(), fatal=str(error))
        return self._result(report)

    def _result(self, report: PackReport) -> dict[str, Any]:
        return {REPORT_KEY: report.to_json(), NODE_KEY: self._node}

    def _epoch(self) -> PackReport:
        import torch

        from sweeper.training.custom_loss import MemberFailure
        from sweeper.training.device import is_out_of_memory

        finished = [trial_id for trial_id in self._configs if self._is_finished(trial_id)]
        results: dict[str, EpochMetrics | MemberFailure] = {}
        if not finished:  # after a resume, members that have ended are reported first, and leave before the others train on
            with self._checkpoint_written():
                try:
                    results = self._pack.train_epoch()
                except (RuntimeError, MemoryError) as error:
                    if not is_out_of_memory(error):
                        raise
                    results = dict.fromkeys(self._configs, MemberFailure.of(error))
                    torch.cuda.empty_cache()
            self._has_learnt = True
        for trial_id, result in results.items():
            if isinstance(result, MemberFailure):
                self._failures[trial_id] = Failure(result.error, result.traceback, result.out_of_memory)
            else:
                self._history[trial_id].append(result)
        self._keep([trial_id for trial_id, result in results.items() if isinstance(result, MemberFailure)])
        report = PackReport(
            device=self._device_name(),
            epochs={
                trial_id: history if trial_id in self._unreported else history[-1:]
                for trial_id, history in self._history.items()
                if history and (trial_id in self._unreported or trial_id in results)
            },
            tests={trial_id: self._test(trial_id) for trial_id in self._configs if self._is_finished(trial_id)},
            failures=dict(self._failures),
            notice=self._pack.notice,
        )
        self._unreported.clear()
        self._failures.clear()
        return report

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Tune's own checkpoints are not used: members come and go, so a pack has a file of its own in the sweep's folder."""

    def load_checkpoint(self, checkpoint: dict[Any, Any] | None) -> None:
        """See :meth:`save_checkpoint`."""

    def _take_in(self) -> None:
        """Take in the members that were given since the last epoch, each from its checkpoint where there is one."""
        checkpoints = self._context.folder.checkpoints.read(self._waiting) if self._waiting else {}
        while self._waiting:
            config = self._waiting.pop(0)
            self._pack.add([config])
            self._configs[config.trial_id] = config
            self._history[config.trial_id] = []
            checkpoint = checkpoints.get(config.trial_id)
            if checkpoint is None or len(checkpoint.history) != checkpoint.arrays.get("epochs"):
                continue
            try:
                self._pack.restore(config.trial_id, checkpoint.arrays)
            except TrainingError:  # a foreign file under its name: the trial starts again
                continue
            self._history[config.trial_id] = list(checkpoint.history)
            self._unreported.add(config.trial_id)

    def _drop(self, trial_ids: list[str]) -> None:
        self._pack.remove(trial_ids)
        for trial_id in trial_ids:
            self._configs.pop(trial_id, None)
            self._history.pop(trial_id, None)

    def _is_finished(self, trial_id: str) -> bool:
        return len(self._history[trial_id]) >= self._context.settings.epochs

    @contextlib.contextmanager
    def _checkpoint_written(self) -> Iterator[None]:
        """A block that trains while a thread writes what the members had learnt before it, if that is due.

        By then the driver has recorded it, and those that have ended have left. The block ends when all is written: no file appears after
        the driver has heard that its members have ended, and an error of the storage is in the report of this epoch.
        """
        trial_ids = [trial_id for trial_id, history in self._history.items() if history]
        if not trial_ids or not self._has_learnt or time.monotonic() < self._next_checkpoint:
            yield
            return
        write, in_file = self._writing_of_checkpoint(trial_ids)
        self._next_checkpoint = time.monotonic() + SECONDS_BETWEEN_CHECKPOINTS
        with ThreadPoolExecutor(1, "checkpoint") as thread:
            writing = thread.submit(write)
            yield
        writing.result()
        self._in_file = in_file

    def _writing_of_checkpoint(self, trial_ids: list[str]) -> tuple[Callable[[], None], set[str]]:
        """What writes what these members have learnt until now, and which of them the pack's own file then holds."""
        from sweeper.training.packs import Packs

        checkpoints = self._context.folder.checkpoints
        if isinstance(self._pack, Packs):
            parts = [self._checkpoint(*part) for part in self._pack.parts(trial_ids)]
            return partial(checkpoints.write_pack, self.trial_id, *parts), {*trial_ids}
        states = {trial_id: state for trial_id in trial_ids if (state := self._pack.state(trial_id)) is not None}
        of_loops = [
            Checkpoint(state, tuple(self._history[trial_id][: int(state["epochs"])]), self._configs[trial_id])
            for trial_id, state in states.items()
        ]

        def write() -> None:
            for checkpoint in of_loops:
                checkpoints.write(checkpoint)

        return write, set()

    def _checkpoint(self, pack: Pack, trial_ids: list[str]) -> PackCheckpoint:
        """What continues members of one model."""
        rows = pack.rows(trial_ids)
        configs, histories = zip(*((self._configs[each], tuple(self._history[each])) for each in trial_ids), strict=True)
        return PackCheckpoint({kind: pack.shapes(kind) for kind in rows}, rows, configs, histories)

    def _keep(self, failed: list[str]) -> None:
        """Copy failed members out of the pack's file, which goes on without them: they are trained again from there, in another pack."""
        configs = [self._configs[trial_id] for trial_id in failed if trial_id in self._in_file]
        for checkpoint in self._context.folder.checkpoints.read(configs).values() if configs else ():
            self._context.folder.checkpoints.write(checkpoint)

    def _test(self, trial_id: str) -> TestMetrics:
        """Figures on the test split, which is read after the last epoch of a trial; the logits of confirm trials are stored,
        and their weights if they are to be kept: before the driver hears of the end of a trial, its files are whole.

        They are computed from the logits as they are stored, so that anyone can compute the same figures from the files.
        """
        from sweeper.training.packs import as_arrays

        config = self._configs[trial_id]
        figures, predictions = test_figures(self._pack, trial_id, with_validation=bool(self._context.settings.validation))
        if config.phase is Phase.CONFIRM:
            if predictions:  # which a training loop need not return, nor weights
                self._context.folder.write_predictions(config, predictions)
            if self._context.settings.keep == "weights" and (tensors := self._pack.state_dict(trial_id)):
                self._context.folder.write_weights(config, self._pack.network(trial_id), as_arrays(tensors))
        return figures

    def _device_name(self) -> str:
        import torch

        return torch.cuda.get_device_name() if self._context.device == "cuda" else "cpu"


def test_figures(pack: Packs | Loops, trial_id: str, *, with_validation: bool) -> tuple[TestMetrics, list[Predictions]]:
    """A member's figures on the test split, and the predictions behind them, those on the validation split first if there is one.

    A training loop of the user's own gives figures, or logits from which they follow, or both.
    """
    from sweeper.training.packs import Packs

    if isinstance(pack, Packs):
        given = TestMetrics(test_loss=pack.loss(trial_id, "test"))
        predicted = [pack.predict(trial_id, split) for split in ("validation", "test") if with_validation or split == "test"]
    else:
        given, predicted = pack.test(trial_id), list(pack.logits(trial_id))
    if not predicted:
        return given, []
    *validations, test = predictions = [stored_precision(each) for each in predicted]
    figures = {metric.test_column: metric.compute(test.logits, test.labels) for metric in METRICS.values() if metric.compute}
    for validation in validations:
        figures["temperature"] = fit_temperature(validation.logits, validation.labels)
        scaled = test.logits / figures["temperature"]
        figures |= {each.scaled_column: each.compute(scaled, test.labels) for each in METRICS.values() if each.compute and each.scaled}
    return replace(given, **figures), predictions  # type: ignore[arg-type]  # none of the figures is `own`
