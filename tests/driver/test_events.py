"""Who observes a sweep, and that the sweep outlives them."""

from collections import Counter

import pytest
from faults.invariants import check_sweep
from faults.simulation import new_sweep, run_sweep

from sweeper.driver.events import EpochTrained, Notice, SweepStarted, TrialEnded, TrialJoined, observed_by
from sweeper.space import parse_space

SPACE = """
name: observed
dataset: {name: synthetic}
training: {epochs: 2}
parameters: {loss: cross_entropy, learning_rate: {low: 1e-3, high: 0.5}}
compare: {trials_per_arm: 3, seeds: 2}
"""


def test_every_observer_is_handed_every_event_in_its_order():
    handed = []
    observe = observed_by(lambda event: handed.append(("first", event)), lambda event: handed.append(("second", event)))
    for line in ("one", "two"):
        observe(Notice(line))
    assert handed == [(name, Notice(line)) for line in ("one", "two") for name in ("first", "second")]


@pytest.mark.parametrize("error", [BrokenPipeError, OSError])
@pytest.mark.parametrize("n_events", [0, 1, 7])
def test_a_sweep_and_its_other_observers_outlive_an_observer_that_cannot_write_any_more(tmp_path, error, n_events):
    handed, left = [], iter(range(n_events))
    n_asked = 0

    def breaks(event):
        nonlocal n_asked
        n_asked += 1
        if next(left, None) is None:
            raise error

    space = parse_space(SPACE, "space.yaml")
    folder = new_sweep(tmp_path / "sweep", space)
    assert run_sweep(folder, space, observer=observed_by(breaks, handed.append)) == 0
    check_sweep(tmp_path / "sweep")
    assert n_asked == n_events + 1  # nothing further after its error
    counts = Counter(map(type, handed))
    assert counts == {SweepStarted: 1, TrialJoined: 5, EpochTrained: 10, TrialEnded: 5}


def test_a_mistake_in_an_observer_is_not_swallowed():
    def mistaken(event):
        raise ValueError("of ours")

    with pytest.raises(ValueError, match="of ours"):
        observed_by(mistaken)(Notice("line"))
