"""A sweep's events, made up: what a driver would tell an observer."""

from sweeper.driver.events import EpochTrained, TrialEnded, TrialJoined
from sweeper.records import EpochMetrics, Phase, TrialConfig, TrialOutcome, TrialState
from sweeper.space import parse_space
from sweeper.view.counts import Counts

SPACE = """
name: focal
dataset: {name: synthetic}
training: {epochs: 4}
parameters:
  loss: {choices: [l1, cross_entropy, focal]}
  gamma: {low: 0.0, high: 5.0, when: {loss: focal}}
  learning_rate: {low: 1.0e-3, high: 1.0, log: true}
compare: {arms: loss, searches: 1, trials_per_arm: 6, seeds: 3}
seed: 1
"""


def space(**changes):
    return parse_space(SPACE, "space", [f"{key}={value}" for key, value in changes.items()])


def tally(**changes):
    return Counts("focal-20260101-120000", space(**changes))


def config(arm, number, phase=Phase.SEARCH, search=1, **parameters):
    return TrialConfig(arm, phase, number, 1, {"loss": arm, "learning_rate": 0.0312, "momentum": 0.9, **parameters}, search)


def epoch(number, val_accuracy=0.5):
    return EpochMetrics(number, 1.0, 0.5, 1.0, val_accuracy, 1.0, 0.5, 0.1, 0.0312, 0.2)


def ended(trial, state, accuracies, error=None):
    epochs = tuple(epoch(number, accuracy) for number, accuracy in enumerate(accuracies, start=1))
    value = accuracies[-1] if state is TrialState.COMPLETE else None
    return TrialOutcome(trial, state, value, epochs, error=error)


def half_way(counts):
    """Tell ``counts`` of a search that is half done: a complete trial per arm, one pruned, one diverged, one failed, two in training."""
    for arm, accuracy in (("l1", 0.1), ("cross_entropy", 0.57), ("focal", 0.6123)):
        trial = config(arm, 0, gamma=1.728) if arm == "focal" else config(arm, 0)
        counts(TrialJoined(trial))
        counts(TrialEnded(ended(trial, TrialState.COMPLETE, [accuracy / 2, accuracy])))
    counts(TrialEnded(ended(config("l1", 1), TrialState.PRUNED, [0.1])))
    counts(TrialEnded(ended(config("focal", 1), TrialState.DIVERGED, [0.1])))
    counts(TrialEnded(ended(config("l1", 2), TrialState.FAILED, [], error="CUDA out of memory")))
    for number in (3, 4):
        counts(TrialJoined(config("focal", number)))
    counts(EpochTrained(config("focal", 3), epoch(1)))
    counts(EpochTrained(config("focal", 3), epoch(2)))
