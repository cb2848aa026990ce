"""The scheduler that Ray Tune calls when a result arrives: Optuna's pruners decide, member by member."""

from __future__ import annotations

from typing import Any

from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from sweeper.cluster.nodes import lost_node
from sweeper.cluster.ray_internals import node_of_actor
from sweeper.driver.coordinator import Coordinator
from sweeper.driver.messages import NODE_KEY, REPORT_KEY, Failure, PackReport, members_to_json
from sweeper.tune.hook_errors import wrap_exceptions
from sweeper.tune.tune_internals import actor_of, error_of, failure_of


class PackScheduler(FIFOScheduler):
    """Stops a pack when its last member has ended, and tells a pack that goes on which members leave and join it.

    The message to a running pack is a call on the trial's own actor. Ray runs the calls of one caller in their order, so it is obeyed
    before the next epoch, which Tune requests only after this hook.
    """

    def __init__(self, coordinator: Coordinator) -> None:
        super().__init__()
        self._coordinator = coordinator

    @property
    def supports_buffered_results(self) -> bool:
        """No: a decision must not wait for a buffer to fill."""
        return False

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:  # noqa: ARG002
        return True

    def choose_trial_to_run(self, tune_controller: Any) -> None:
        """No trial: Tune then starts what waits in its order.

        Tune's own choice looks through every trial of the sweep at every event. It also gives a process that is free to a pack whose own
        process is still starting, and gives that one up: where packs end sooner than a process starts, one device would work for all.
        """

    @wrap_exceptions
    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:  # noqa: ARG002
        decision = self._coordinator.report(trial.trial_id, PackReport.from_json(result[REPORT_KEY]))
        if decision.empty:
            return str(TrialScheduler.STOP)
        if decision.remove or decision.add:
            actor_of(trial).change_members.remote(list(decision.remove), members_to_json(decision.add))
        return str(TrialScheduler.CONTINUE)

    @wrap_exceptions
    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:  # noqa: ARG002
        """A process died, with its node or alone, or could not start: Tune keeps what it knows of it as text."""
        failure = failure_of(error_of(trial))
        address = lost_node(trial.last_result.get(NODE_KEY) or node_of_actor(failure.traceback))
        if address is not None:
            failure = Failure(f"its node {address} was lost", failure.traceback, node_lost=True)
        self._coordinator.lost(trial.trial_id, failure)

    def debug_string(self) -> str:
        return "Optuna's pruners, one study per arm"
