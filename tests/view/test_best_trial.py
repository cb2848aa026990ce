"""The best trial of each arm, and of all: status, list, show, the panel's counts and the report name the same, however odd the sweep."""

import math

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState as OptunaState
from stored_rows import store_rows

from sweeper.driver.events import TrialEnded
from sweeper.records import EpochMetrics, Phase, TrialConfig, TrialOutcome, TrialState, study_name
from sweeper.report.summarize import summarize
from sweeper.space import dump_space, parse_space
from sweeper.store import SweepFolder
from sweeper.view.counts import Counts
from sweeper.view.status import sweep_status
from sweeper.view.sweeps import list_sweeps, view_sweep

SPACE = """
name: odd
dataset: {{name: synthetic}}
training: {{epochs: 4}}
parameters:
  loss: {{choices: [cross_entropy, focal]}}
  learning_rate: {{low: 1.0e-3, high: 1.0, log: true}}
compare: {{arms: loss, trials_per_arm: 4, seeds: 0}}
search: {{metric: {metric}}}
"""
COMPLETE, PRUNED, DIVERGED, FAILED = TrialState.COMPLETE, TrialState.PRUNED, TrialState.DIVERGED, TrialState.FAILED
ODD = {
    "the best is in the middle": ("val_accuracy", [(COMPLETE, 0.3), (COMPLETE, 0.5), (COMPLETE, 0.4)], [(COMPLETE, 0.45)], 1, 0),
    "of equals the first is the best": ("val_accuracy", [(COMPLETE, 0.3), (COMPLETE, 0.5), (COMPLETE, 0.5)], [(COMPLETE, 0.5)], 1, 0),
    "a minimised metric": ("val_nll", [(COMPLETE, 1.5), (COMPLETE, 1.2), (COMPLETE, 1.2)], [(COMPLETE, 1.3)], 1, 0),
    "zero is a value": ("val_ece", [(COMPLETE, 0.1), (COMPLETE, 0.0)], [(COMPLETE, 0.05)], 1, 0),
    "pruned with a better figure": ("val_accuracy", [(PRUNED, 0.9), (COMPLETE, 0.2)], [(COMPLETE, 0.1), (PRUNED, 0.8)], 1, 0),
    "nothing but pruned": ("val_accuracy", [(PRUNED, 0.9), (PRUNED, 0.8)], [(PRUNED, 0.7)], None, None),
    "one arm with nothing complete": ("val_accuracy", [(FAILED, None), (DIVERGED, None)], [(PRUNED, 0.7), (COMPLETE, 0.2)], None, 1),
    "diverged with a better figure": ("val_nll", [(DIVERGED, 0.0), (COMPLETE, 2.0)], [(COMPLETE, 2.5)], 1, 0),
    "an infinite value": ("val_accuracy", [(COMPLETE, math.inf), (COMPLETE, 0.2)], [(COMPLETE, -math.inf), (COMPLETE, 0.1)], 1, 1),
    "infinite where least is best": ("val_nll", [(COMPLETE, -math.inf), (COMPLETE, 2.0)], [(COMPLETE, math.inf)], 1, None),
    "no number at all": ("val_nll", [(COMPLETE, math.nan), (COMPLETE, 2.0)], [(COMPLETE, math.nan)], 1, None),
    "no trial yet": ("val_accuracy", [], [], None, None),
}
ARMS = ("cross_entropy", "focal")
IN_OPTUNA = {COMPLETE: OptunaState.COMPLETE, PRUNED: OptunaState.PRUNED, DIVERGED: OptunaState.PRUNED, FAILED: OptunaState.FAIL}


def outcomes_of(trials):
    """By arm; the value of a trial that is not complete is that of its last epoch."""
    for arm, ends in zip(ARMS, trials, strict=True):
        for number, (state, value) in enumerate(ends):
            epochs = () if value is None else tuple(EpochMetrics(epoch, *[value] * 8, 1.0) for epoch in (1, 2))
            config = TrialConfig(arm, Phase.SEARCH, number, 1, {"loss": arm, "learning_rate": 0.1 + 0.01 * number})
            yield TrialOutcome(config, state, value if state is COMPLETE else None, epochs, error="x" if state is FAILED else None)


def stored(folder, space, outcomes):
    """A sweep whose journal, Parquet files and space hold these outcomes."""
    folder.create()
    folder.write_space(dump_space(space))
    storage = JournalStorage(JournalFileBackend(str(folder.journal)))
    direction = "maximize" if space.search.metric == "val_accuracy" else "minimize"
    studies = {arm: optuna.create_study(storage=storage, study_name=study_name(arm, 1, Phase.SEARCH), direction=direction) for arm in ARMS}
    rows = []
    for outcome in outcomes:
        config = outcome.config
        trial = studies[config.arm].ask()
        rate = config.parameters["learning_rate"]
        trial._suggest("learning_rate", optuna.distributions.FloatDistribution(rate, rate))
        for epoch in outcome.epochs:
            trial.report(getattr(epoch, space.search.metric), epoch.epoch)
        if outcome.state is DIVERGED:
            trial.set_user_attr("diverged", 2)
        if outcome.state is COMPLETE and math.isnan(outcome.value):
            continue  # Optuna takes no such value
        studies[config.arm].tell(trial, outcome.value, state=IN_OPTUNA[outcome.state])
    for outcome in outcomes:
        config = outcome.config
        last = {f"last_{name}": outcome.epochs[-1].val_nll for name in ("val_loss", "val_accuracy", "val_nll", "val_ece") if outcome.epochs}
        identity = {"sweep": folder.id, "arm": config.arm, "phase": str(config.phase), "trial": config.trial_id, "number": config.number}
        ended = {"seed": 1, "state": str(outcome.state), "value": outcome.value, "epochs": len(outcome.epochs), "train_seconds": 1.0}
        rows.append({**identity, **ended, **last, **{f"param_{name}": value for name, value in config.parameters.items()}})
    store_rows(folder, trials=rows, parameter_types=space.parameter_types())
    return folder


def named(snapshot):
    """The best of each arm and of all in a snapshot."""
    return {part.arm: part.best and part.best.trial for part in snapshot.phase_parts(Phase.SEARCH)}, snapshot.best and snapshot.best.trial


@pytest.mark.parametrize("case", ODD)
def test_all_who_tell_the_best_trial_tell_the_same(tmp_path, case):
    metric, *trials, best_of_one, best_of_other = ODD[case]
    space, outcomes = parse_space(SPACE.format(metric=metric), "space"), list(outcomes_of(trials))
    folder = stored(SweepFolder(str(tmp_path / "odd")), space, outcomes)
    by_arm = {arm: None if number is None else f"{arm}-{number}" for arm, number in zip(ARMS, (best_of_one, best_of_other), strict=True)}
    values = {outcome.config.trial_id: outcome.value for outcome in outcomes}
    found = [trial for trial in by_arm.values() if trial]
    best = (max if metric == "val_accuracy" else min)(found, key=values.get, default=None)
    resumed, live = Counts("odd", space), Counts("odd", space)
    resumed.found(folder.read_trials().frame)
    for outcome in reversed(outcomes):  # trials side by side end in any order
        live(TrialEnded(outcome))
    (line,) = list_sweeps(str(tmp_path))
    summary = summarize(str(tmp_path)).sweeps[0]
    assert named(sweep_status(folder).snapshot) == (by_arm, best)
    assert named(resumed.snapshot()) == (by_arm, best)
    assert named(live.snapshot()) == (by_arm, best)
    assert (line.best and line.best.trial) == best
    assert {arm.arm: arm.trial for arm in view_sweep(folder).arms} == by_arm
    assert {arm.arm: arm.best and arm.best.trial for arm in summary.arms} == by_arm
    assert summary.verdict.best == (best and best.rpartition("-")[0])


def test_nobody_names_a_best_of_all_where_values_cannot_be_compared(tmp_path):
    space = parse_space(SPACE.format(metric="val_loss"), "space")
    outcomes = list(outcomes_of([[(COMPLETE, 0.3), (COMPLETE, 0.2)], [(COMPLETE, 0.1)]]))
    folder = stored(SweepFolder(str(tmp_path / "odd")), space, outcomes)
    live = Counts("odd", space)
    for outcome in outcomes:
        live(TrialEnded(outcome))
    by_arm = {"cross_entropy": "cross_entropy-1", "focal": "focal-0"}
    assert named(sweep_status(folder).snapshot) == named(live.snapshot()) == (by_arm, None)
    assert list_sweeps(str(tmp_path))[0].best is None
    summary = summarize(str(tmp_path)).sweeps[0]
    assert {arm.arm: arm.best.trial for arm in summary.arms} == by_arm
    assert (summary.verdict.kind, summary.verdict.best) == ("not_comparable", None)


def test_what_failed_or_diverged_was_not_saved_by_pruning(tmp_path):
    space = parse_space(SPACE.format(metric="val_accuracy"), "space")
    trials = [[(COMPLETE, 0.3), (PRUNED, 0.2), (FAILED, None), (DIVERGED, 0.1)], [(COMPLETE, 0.1), (PRUNED, 0.1)]]
    outcomes = list(outcomes_of(trials))
    folder = stored(SweepFolder(str(tmp_path / "odd")), space, outcomes)
    live = Counts("odd", space)
    for outcome in outcomes:
        live(TrialEnded(outcome))
    assert sweep_status(folder).snapshot.saved == live.snapshot().saved == 4 / 24
    costs = {arm.arm: arm.search.saved for arm in summarize(str(tmp_path)).sweeps[0].arms}
    assert costs == {"cross_entropy": 2 / 16, "focal": 2 / 8}
