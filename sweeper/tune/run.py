"""Runs a coordinator's packs under Ray Tune until every planned trial has ended."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from ray import tune
from ray.tune import CheckpointConfig, CLIReporter, FailureConfig, RunConfig, TuneConfig

from sweeper.cluster.capacity import Capacity
from sweeper.cluster.session import PackResources
from sweeper.data import Dataset
from sweeper.driver.coordinator import Coordinator
from sweeper.tune.hook_errors import HookError
from sweeper.tune.pack_size import PackSize
from sweeper.tune.scheduler import PackScheduler
from sweeper.tune.searcher import PackSearcher
from sweeper.tune.trainable import PackTrainable, TrialContext
from sweeper.tune.tune_internals import set_environment


@dataclass(frozen=True, slots=True)
class PackPlan:
    """How trials are put on devices: members per pack, and what one pack occupies."""

    size: PackSize
    capacity: Capacity


def run_packs(
    coordinator: Coordinator,
    context: TrialContext | Any,
    dataset: Dataset | Any,
    plan: PackPlan,
    scratch: str,
    trainable: type[tune.Trainable] = PackTrainable,
) -> None:
    """Run until :attr:`Coordinator.finished`. ``scratch``: a local folder for files that Tune writes and nothing reads.

    ``trainable`` is set up with ``context`` and ``dataset``; another than ours (a stub that measures the driver) may want others.

    Tune's own snapshots are put off (they are older than the studies, and they grow with the trials), and its retries too: a pack that
    loses its process returns its members to the coordinator.
    """
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # a lost process is told by the observer, in one line
    set_environment()
    runnable = tune.with_resources(
        tune.with_parameters(trainable, context=context, dataset=dataset),
        PackResources([{"CPU": plan.capacity.cpus, "GPU": plan.capacity.gpus}]),
    )
    while not coordinator.finished:
        tuner = tune.Tuner(
            runnable,
            tune_config=TuneConfig(
                search_alg=PackSearcher(coordinator, pack_size=plan.size, max_packs=lambda: plan.capacity.n_packs),
                scheduler=PackScheduler(coordinator),
                num_samples=-1,
                reuse_actors=True,
                trial_dirname_creator=lambda trial: str(trial.trial_id),
                trial_name_creator=lambda trial: f"pack-{trial.trial_id}",
            ),
            run_config=RunConfig(
                name="tune",
                storage_path=scratch,
                verbose=0,
                progress_reporter=CLIReporter(),  # silent, where the one that Tune picks in a notebook clears the cell's output
                failure_config=FailureConfig(max_failures=0),
                checkpoint_config=CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
            ),
        )
        try:
            tuner.fit()
        except HookError as error:
            raise error.error from error.error.__cause__
