"""What a sweep's events add up to."""

from dataclasses import replace

import pandas as pd
import pytest
from events import config, ended, epoch, half_way, space, tally

from sweeper.driver.events import EpochTrained, TrialEnded, TrialJoined, TrialReturned
from sweeper.records import Phase, TrialState
from sweeper.view.counts import Counts
from sweeper.view.lines import closing_line, pause_after, progress_line
from sweeper.view.snapshot import END_SECONDS
from sweeper.view.wording import duration, outcome_text


def part(counts, arm, phase=Phase.SEARCH, search=1):
    return next(each for each in counts.snapshot().parts if (each.arm, each.phase, each.search) == (arm, phase, search))


def test_each_arm_counts_its_own_trials_by_their_end():
    counts = tally()
    half_way(counts)
    l1, focal = part(counts, "l1"), part(counts, "focal")
    assert (l1.planned, l1.running, l1.complete, l1.pruned, l1.diverged, l1.failed) == (6, 0, 1, 1, 0, 1)
    assert (focal.planned, focal.running, focal.complete, focal.pruned, focal.diverged, focal.failed) == (6, 2, 1, 0, 1, 0)
    assert (l1.epochs, focal.epochs, focal.epochs_of_ended) == (3, 5, 3)


def test_the_best_is_the_best_of_the_complete_trials_with_the_parameters_that_were_drawn():
    counts = tally()
    half_way(counts)
    best = counts.snapshot().best
    assert (best.trial, best.value, best.parameters) == ("focal-0", 0.6123, {"gamma": 1.728, "learning_rate": 0.0312})


def test_of_a_metric_that_is_minimised_the_lowest_is_the_best():
    counts = tally(**{"search.metric": "val_nll"})
    for number, value in enumerate([1.5, 1.2, 1.4]):
        counts(TrialEnded(ended(config("l1", number), TrialState.COMPLETE, [2.0, value])))
    assert counts.snapshot().best.value == 1.2


def test_a_trial_that_returns_is_not_running_until_it_joins_again():
    counts = tally()
    counts(TrialJoined(config("l1", 0)))
    assert part(counts, "l1").running == 1
    counts(TrialReturned(config("l1", 0), None))
    assert part(counts, "l1").running == 0
    counts(TrialJoined(config("l1", 0)))
    assert part(counts, "l1").running == 1


def test_the_confirm_phase_begins_when_every_search_has_ended():
    counts = tally(**{"compare.trials_per_arm": 1})
    for arm in ("l1", "cross_entropy"):
        counts(TrialEnded(ended(config(arm, 0), TrialState.COMPLETE, [0.5])))
    assert counts.snapshot().stage is Phase.SEARCH
    counts(TrialEnded(ended(config("focal", 0), TrialState.COMPLETE, [0.5])))
    assert counts.snapshot().stage is Phase.CONFIRM


def test_a_sweep_that_confirms_nothing_stays_in_the_search():
    counts = tally(**{"compare.trials_per_arm": 1, "compare.seeds": 0})
    for arm in ("l1", "cross_entropy", "focal"):
        counts(TrialEnded(ended(config(arm, 0), TrialState.COMPLETE, [0.5])))
    assert " search 3/3, " in progress_line(counts.snapshot())


def test_each_search_counts_its_own_trials_and_an_arm_is_shown_with_all_of_them():
    counts = tally(**{"compare.searches": 3})
    half_way(counts)
    counts(TrialEnded(ended(config("focal", 0, search=3), TrialState.COMPLETE, [0.7])))
    counts(TrialJoined(config("focal", 1, search=3)))
    first, second, third = (part(counts, "focal", search=search) for search in (1, 2, 3))
    assert [(each.planned, each.ended, each.running) for each in (first, second, third)] == [(6, 2, 2), (6, 0, 0), (6, 1, 1)]
    assert (first.best.trial, second.best, third.best.trial) == ("focal-0", None, "focal-s3-0")
    focal = counts.snapshot().phase_parts(Phase.SEARCH)[2]
    assert (focal.arm, focal.planned, focal.ended, focal.running, focal.diverged, focal.epochs) == ("focal", 18, 3, 3, 1, 6)
    assert focal.best == counts.snapshot().best == third.best


def test_of_searches_with_equal_bests_the_first_is_named_in_whatever_order_they_end():
    for order in ((1, 2), (2, 1)):
        counts = tally(**{"compare.searches": 2})
        for search in order:
            counts(TrialEnded(ended(config("l1", 3 - search, search=search), TrialState.COMPLETE, [0.5])))
        assert counts.snapshot().best.trial == "l1-2"


def test_a_search_that_is_confirmed_while_others_go_on_is_told_beside_them():
    counts = tally(**{"compare.searches": 2, "compare.trials_per_arm": 1, "parameters.loss": "l1", "compare.arms": "null"})
    counts(TrialEnded(ended(config("all", 0), TrialState.COMPLETE, [0.5])))
    assert progress_line(counts.snapshot()).startswith("0:00:00 search 1/2, 0 running, ")
    counts(TrialJoined(config("all", 0, Phase.CONFIRM)))
    counts(TrialEnded(ended(config("all", 0, Phase.CONFIRM), TrialState.COMPLETE, [0.5])))
    assert progress_line(counts.snapshot()).startswith("0:00:00 search 1/2, confirm 1/6, 0 running, ")
    counts(TrialEnded(ended(config("all", 0, search=2), TrialState.COMPLETE, [0.5])))
    assert counts.snapshot().stage is Phase.CONFIRM
    assert progress_line(counts.snapshot()).startswith("0:00:00 confirm 1/6, 0 running, ")


def test_what_is_left_takes_the_searches_of_an_arm_together():
    counts = tally(**{"compare.searches": 5, "parameters.loss": "l1", "compare.arms": "null"})
    for search in range(1, 6):
        counts(TrialEnded(ended(config("all", 0, search=search), TrialState.PRUNED, [0.1] * 2)))
    snapshot = replace(counts.snapshot(), epochs_per_second=1.0)
    # the pruned trials took two epochs each, and so will the other 25; then five times three are confirmed
    assert snapshot.eta_seconds == 25 * 2 + 15 * 4 + END_SECONDS


def test_a_resumed_sweep_plans_what_its_studies_plan_and_the_space_for_the_searches_that_have_not_come_so_far():
    planned = {("l1", 1, Phase.SEARCH): 8, ("l1", 1, Phase.CONFIRM): 4}  # two failed trials and one are repeated
    snapshot = Counts("focal-1", space(**{"compare.searches": 2}), planned).snapshot()
    assert [part.planned for part in snapshot.parts if part.arm == "l1"] == [8, 6, 4, 3]
    assert (snapshot.total("planned", Phase.SEARCH), snapshot.total("planned", Phase.CONFIRM)) == (38, 19)


def test_pruning_saves_the_epochs_that_ended_search_trials_did_not_train():
    counts = tally()
    assert counts.snapshot().saved is None
    counts(TrialEnded(ended(config("l1", 0), TrialState.COMPLETE, [0.1] * 4)))
    counts(TrialEnded(ended(config("l1", 1), TrialState.PRUNED, [0.1])))
    counts(TrialEnded(ended(config("l1", 0, Phase.CONFIRM), TrialState.COMPLETE, [0.1] * 4)))
    assert counts.snapshot().saved == pytest.approx(3 / 8)


def test_what_is_left_is_reckoned_from_how_long_trials_last():
    counts = tally()
    for number in range(5):
        counts(TrialEnded(ended(config("l1", number), TrialState.PRUNED, [0.1] * 2)))
    l1, focal = part(counts, "l1"), part(counts, "focal")
    assert l1.expected_epochs(4) == 12  # five trials took two epochs each, and so will the sixth
    assert focal.expected_epochs(4) == 24  # nothing is known yet


def test_until_trials_have_ended_what_is_left_is_reckoned_from_what_the_pruner_is_expected_to_leave():
    counts = tally()
    counts.expect(1.5)
    assert part(counts, "l1").expected_epochs(4) == 6 * 1.5
    assert part(counts, "l1", Phase.CONFIRM).expected_epochs(4) == 3 * 4  # never pruned
    for number in range(5):
        counts(TrialEnded(ended(config("l1", number), TrialState.PRUNED, [0.1] * 2)))
    assert part(counts, "l1").expected_epochs(4) == 12


def test_the_time_that_is_left_counts_the_end_of_the_sweep_too():
    counts = tally(**{"compare.trials_per_arm": 1, "compare.seeds": 0, "parameters.loss": "l1", "compare.arms": "null"})
    assert counts.snapshot().eta_seconds is None  # nobody has measured a pace
    snapshot = replace(counts.snapshot(), epochs_per_second=0.5)
    assert snapshot.eta_seconds == 4 / 0.5 + END_SECONDS
    counts(TrialJoined(config("all", 0)))
    for number in range(1, 5):
        counts(EpochTrained(config("all", 0), epoch(number)))
    trained = replace(counts.snapshot(), epochs_per_second=0.5)
    assert trained.eta_seconds == END_SECONDS
    assert progress_line(trained).endswith("about 0:00:04 left")
    counts(TrialEnded(ended(config("all", 0), TrialState.COMPLETE, [0.1] * 4)))
    over = replace(counts.snapshot(), epochs_per_second=0.5)
    assert over.eta_seconds is None  # the panel stays on the screen as it was drawn last


def test_one_of_anything_is_told_in_the_singular():
    counts = tally(**{"compare.trials_per_arm": 1, "compare.seeds": 0, "parameters.loss": "l1", "compare.arms": "null"})
    counts(TrialEnded(ended(config("all", 0), TrialState.COMPLETE, [0.1])))
    assert closing_line(counts.snapshot()).startswith("0:00:00 ended: 1 of 1 trial, 1 epoch, ")


def test_trials_of_an_earlier_process_are_counted_from_their_rows():
    counts = tally()
    rows = [
        {
            "trial": "focal-0",
            "number": 0,
            "arm": "focal",
            "phase": "search",
            "search": 1,
            "state": "complete",
            "value": 0.7,
            "epochs": 4,
            "param_gamma": 2.0,
        },
        {
            "trial": "l1-0",
            "number": 0,
            "arm": "l1",
            "phase": "search",
            "search": 1,
            "state": "pruned",
            "value": None,
            "epochs": 1,
            "param_gamma": None,
        },
        {
            "trial": "gone-0",
            "number": 0,
            "arm": "gone",
            "phase": "search",
            "search": 1,
            "state": "pruned",
            "value": None,
            "epochs": 1,
            "param_gamma": None,
        },
    ]
    counts.found(pd.DataFrame(rows))
    assert (part(counts, "focal").complete, part(counts, "l1").pruned) == (1, 1)
    assert counts.snapshot().best.parameters == {"gamma": 2.0}


def test_a_line_tells_phase_states_and_the_best():
    counts = tally()
    half_way(counts)
    assert progress_line(counts.snapshot()) == (
        "0:00:00 search 6/18, 2 running, 1 pruned, 1 diverged, 1 failed, pace not known yet, "
        "best val_accuracy 0.6123 by focal-0 (learning_rate 0.0312, gamma 1.728)"
    )
    assert closing_line(counts.snapshot()) == (
        "0:00:00 ended: 6 of 27 trials, 1 pruned, 1 diverged, 1 failed, 10 epochs, 12 % of 24 epochs saved by pruning"
    )


@pytest.mark.parametrize(("seconds", "pause"), [(0, 5), (100, 5), (400, 20), (1200, 60), (100_000, 60)])
def test_lines_come_further_apart_the_longer_a_sweep_runs(seconds, pause):
    assert pause_after(seconds) == pause


def test_the_end_of_a_trial_in_one_line():
    pruned = ended(config("focal", 3, gamma=1.5), TrialState.PRUNED, [0.25])
    assert outcome_text(pruned, "val_accuracy", ("gamma",)) == "focal-3 pruned after 1 epoch, val_accuracy 0.2500; gamma 1.5"
    failed = ended(config("focal", 4), TrialState.FAILED, [], error="no\x1b[31m memory")
    assert outcome_text(failed, "val_accuracy", ()) == "focal-4 failed after 0 epochs, no\\x1b[31m memory"


@pytest.mark.parametrize(("seconds", "text"), [(0.9, "0:00:00"), (192, "0:03:12"), (90_061, "25:01:01")])
def test_durations_are_hours_minutes_seconds(seconds, text):
    assert duration(seconds) == text


def test_pace_counts_from_the_first_epoch_on(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("sweeper.view.counts.time.monotonic", lambda: now[0])
    counts = tally()
    for number, moment in enumerate((100.0, 101.0, 102.0), start=1):  # it took 100 s until Ray and torch were there
        now[0] = moment
        counts(EpochTrained(config("l1", 0), epoch(number)))
    assert counts.snapshot().epochs_per_second == pytest.approx(1.0)
    now[0] = 102.0 + 61
    assert counts.snapshot().epochs_per_second is None


@pytest.mark.parametrize(("epochs", "known"), [(1, False), (6, False), (9, True)])
def test_pace_is_not_told_while_a_process_starts_unless_that_takes_long(epochs, known, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("sweeper.view.counts.time.monotonic", lambda: now[0])
    counts = tally(**{"training.epochs": 20})
    for number in (0, 1):
        counts(TrialJoined(config("l1", number)))
    for number in range(1, epochs + 1):
        now[0] += 10.0  # slow beside the other's start
        counts(EpochTrained(config("l1", 0), epoch(number)))
    assert (counts.snapshot().epochs_per_second is not None) is known


def test_pace_counts_from_the_moment_on_at_which_all_are_under_way(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("sweeper.view.counts.time.monotonic", lambda: now[0])
    counts = tally()
    for number in (0, 1):
        counts(TrialJoined(config("l1", number)))
    now[0] = 10.0
    counts(EpochTrained(config("l1", 0), epoch(1)))
    now[0] = 20.0
    for number in (1, 2, 3):
        counts(EpochTrained(config("l1", 1), epoch(number)))
        now[0] += 1.0
    assert counts.snapshot().epochs_per_second == pytest.approx(2 / 3)
