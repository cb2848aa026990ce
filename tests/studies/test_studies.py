"""The studies of a sweep: what is asked, told and pruned, and what another process finds there."""

import re

import pytest
from optuna.trial import TrialState as OptunaState

from sweeper.errors import StudyError
from sweeper.records import Phase, TrialState
from sweeper.space import parse_space
from sweeper.studies.studies import Studies, TrialEnd, confirm_seeds, search_seed

SPACE = """
name: study
dataset: {{name: synthetic}}
training: {{epochs: 3}}
parameters:
  loss: {{choices: [{arms}]}}
  learning_rate: {{low: 1e-3, high: 1.0, log: true}}
compare: {{arms: loss, searches: {searches}, trials_per_arm: {trials}, seeds: {seeds}}}
search: {{metric: {metric}, sampler: {sampler}, pruner: {pruner}}}
seed: 5
"""


def space_of(arms="l1, cross_entropy", trials=3, seeds=2, searches=1, **search):
    search = {"sampler": "random", "pruner": "none", "metric": "val_accuracy", **search}
    return parse_space(SPACE.format(arms=arms, searches=searches, trials=trials, seeds=seeds, **search), "space.yaml")


@pytest.fixture
def open_studies(tmp_path):
    opened = []

    def open_again(space):
        studies = Studies(space, tmp_path / "studies.journal")
        opened.append(studies)
        return studies

    yield open_again
    for studies in opened:
        studies.close()


def complete(studies, config, value):
    for epoch in (1, 2, 3):
        studies.report(config.trial_id, epoch, value)
    studies.end(config.trial_id, TrialEnd(TrialState.COMPLETE, value))


def test_arms_are_asked_in_turn_until_each_has_its_budget(open_studies):
    studies = open_studies(space_of(trials=2))
    taken = [studies.take() for _ in range(5)]
    assert [config and config.trial_id for config in taken] == ["l1-0", "cross_entropy-0", "l1-1", "cross_entropy-1", None]
    assert [config.seed for config in taken[:4]] == 2 * [search_seed(5, arm, 1) for arm in ("l1", "cross_entropy")]


def test_the_search_that_lags_behind_is_asked_next_and_each_has_draws_and_a_seed_of_its_own(open_studies):
    studies = open_studies(space_of(trials=2, searches=3))
    taken = [studies.take() for _ in range(13)]
    first = ["l1-0", "cross_entropy-0", "l1-s2-0", "cross_entropy-s2-0", "l1-s3-0", "cross_entropy-s3-0"]
    assert [config and config.trial_id for config in taken] == [*first, *(name[:-1] + "1" for name in first), None]
    by_search = {}
    for config in taken[:12]:
        by_search.setdefault((config.arm, config.search), set()).add(config.seed)
    assert all(len(seeds) == 1 for seeds in by_search.values())
    assert len(set.union(*by_search.values())) == 6
    assert len({config.parameters["learning_rate"] for config in taken[:12]}) == 12


def test_the_best_of_each_search_is_confirmed_on_the_same_seeds_as_soon_as_that_search_has_ended(open_studies):
    studies = open_studies(space_of(arms="l1, mae", trials=1, searches=2, seeds=2))
    taken = [studies.take() for _ in range(4)]
    for config, value in zip(reversed(taken), (0.4, 0.3, 0.2), strict=False):
        complete(studies, config, value)
    confirms = [studies.take() for _ in range(6)]
    assert [config.trial_id for config in confirms] == [
        f"{name}-confirm-{index}" for index in (0, 1) for name in ("mae-s2", "l1-s2", "mae")
    ]
    assert [config.seed for config in confirms] == [seed for seed in confirm_seeds(5, 2) for _ in range(3)]
    picks = {(config.arm, config.search): config.parameters for config in taken}
    assert all(config.parameters == picks[config.arm, config.search] for config in confirms)
    studies.end(taken[0].trial_id, TrialEnd(TrialState.FAILED, error="ValueError: no"))  # a search without a complete trial
    for config in confirms:
        complete(studies, config, 0.5)
    assert studies.finished
    searched = {(arm, search, Phase.SEARCH): 1 for arm in ("l1", "mae") for search in (1, 2)}
    assert studies.planned == searched | {(*search, Phase.CONFIRM): 2 for search in (("l1", 2), ("mae", 1), ("mae", 2))}


def test_the_best_of_an_arm_is_confirmed_on_fresh_seeds_when_its_search_has_ended(open_studies):
    studies = open_studies(space_of(arms="l1, mae", trials=2, seeds=3))
    first, other, second, last = (studies.take() for _ in range(4))
    complete(studies, first, 0.4)
    assert studies.take() is None
    complete(studies, second, 0.6)
    confirms = [studies.take() for _ in range(3)]
    assert [(config.trial_id, config.phase, config.seed) for config in confirms] == [
        (f"l1-confirm-{index}", Phase.CONFIRM, seed) for index, seed in enumerate(confirm_seeds(5, 3))
    ]
    assert all(config.parameters == second.parameters for config in confirms)
    for config in (other, last):  # an arm without a complete trial has nothing to confirm
        studies.end(config.trial_id, TrialEnd(TrialState.FAILED, error="ValueError: no"))
    assert studies.take() is None
    assert not studies.finished
    for config in confirms:
        complete(studies, config, 0.5)
    assert studies.finished
    assert studies.n_failed == 2


def test_no_two_sweeps_and_no_two_phases_share_a_seed():
    arms = ("l1", "cross_entropy", "focal")
    seeds = [
        seed
        for sweep_seed in range(200)
        for seed in [*confirm_seeds(sweep_seed, 16), *(search_seed(sweep_seed, arm, search) for arm in arms for search in range(1, 9))]
    ]
    assert len(set(seeds)) == len(seeds)
    assert max(seeds) < 2**31
    assert confirm_seeds(1, 16)[:8] == confirm_seeds(1, 8)
    assert len(set(confirm_seeds(1, 10_000))) == 10_000


def confirmed_seeds(studies):
    """Seeds of all confirm trials by arm; ends whatever is asked."""
    seeds = {}
    while (config := studies.take()) is not None:
        if config.phase is Phase.CONFIRM:
            seeds.setdefault(config.arm, []).append(config.seed)
        complete(studies, config, 0.5)
    return seeds


def test_every_arm_is_confirmed_on_the_same_seeds(open_studies):
    assert confirmed_seeds(open_studies(space_of(seeds=3))) == {arm: confirm_seeds(5, 3) for arm in ("l1", "cross_entropy")}


def lines_of_earlier_version(journal):
    """Without the number of records of each append, of which a crash could leave some."""
    return re.sub(r',"records":\d+', "", journal.read_text()).splitlines(keepends=True)


@pytest.mark.parametrize("n_lines_lost", [0, 1, 2, 3, 9])
def test_a_sweep_that_began_with_consecutive_confirm_seeds_keeps_them_in_every_arm(open_studies, tmp_path, n_lines_lost):
    """Earlier versions confirmed on the sweep's seed + 1, + 2, ...: with one arm confirmed and one searched, or half enqueued."""
    space = space_of(trials=2, seeds=3)
    studies = open_studies(space)
    taken = [studies.take() for _ in range(4)]
    studies.commit()
    journal = tmp_path / "studies.journal"
    lines = [line for line in lines_of_earlier_version(journal) if '"seeds": "hashed"' not in line and '"seeds":"hashed"' not in line]
    journal.write_text("".join(lines))
    studies = open_studies(space)
    studies.settle({})
    for _ in taken:
        studies.take()
    for config in taken:
        if config.arm == "l1":
            complete(studies, config, 0.5)
    studies.commit()
    lines = lines_of_earlier_version(journal)
    journal.write_text("".join(lines[: len(lines) - n_lines_lost]))
    again = open_studies(space)
    again.settle({f"l1-{number}": TrialEnd(TrialState.COMPLETE, 0.5) for number in range(2)})
    assert confirmed_seeds(again) == {arm: [6, 7, 8] for arm in ("l1", "cross_entropy")}


def test_a_smaller_value_is_the_best_of_a_metric_that_is_minimised(open_studies):
    studies = open_studies(space_of(arms="l1, mae", trials=2, seeds=1, metric="val_nll"))
    first, _, second, _ = (studies.take() for _ in range(4))
    complete(studies, first, 0.4)
    complete(studies, second, 0.6)
    assert studies.take().parameters == first.parameters


# Median of the values that complete trials had at the same epoch; the first two trials are never pruned
PRUNING = [
    ([0.5, 0.6], 0.54, True),
    ([0.5, 0.6], 0.55, False),
    ([0.5, 0.6], 0.56, False),
    ([0.5], 0.1, False),
    ([0.5, 0.6], float("nan"), True),
]


@pytest.mark.filterwarnings("ignore:All-NaN slice:RuntimeWarning")
@pytest.mark.parametrize(("before", "value", "pruned"), PRUNING)
def test_the_pruner_of_an_arm_sees_the_trials_of_that_arm_alone(open_studies, before, value, pruned):
    studies = open_studies(space_of(trials=4, seeds=0, pruner="{name: median, n_startup_trials: 2}"))
    for earlier in before:
        config, other = studies.take(), studies.take()
        complete(studies, config, earlier)
        complete(studies, other, 0.99)
    config = studies.take()
    assert config.arm == "l1"
    assert studies.report(config.trial_id, 1, value) is pruned
    assert studies.report(config.trial_id, 1, 0.0) is False  # an epoch that was reported before decides nothing
    assert studies.report(config.trial_id, 3, 0.0) is False  # nothing is saved by pruning after the last epoch


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("metric", ["val_accuracy", "val_nll"])
def test_optuna_is_told_no_value_that_is_not_finite_whether_reported_or_settled(open_studies, metric, value):
    studies = open_studies(space_of(metric=metric))
    reported, settled = studies.take(), studies.take()
    studies.report(reported.trial_id, 1, value)
    studies.end(reported.trial_id, TrialEnd(TrialState.DIVERGED, diverged_epoch=1))
    studies.end(settled.trial_id, TrialEnd(TrialState.DIVERGED, diverged_epoch=1, reports={1: value}))
    for search in studies._searches:
        (trial,) = search.study.trials
        assert trial.value is None
        assert repr(trial.intermediate_values) == "{1: nan}"


def test_a_confirm_trial_is_never_pruned(open_studies):
    studies = open_studies(space_of(arms="l1, mae", trials=1, seeds=2, pruner="{name: threshold, lower: 0.9}"))
    config, _ = studies.take(), studies.take()
    assert studies.report(config.trial_id, 1, 0.5) is True
    complete(studies, config, 0.5)
    confirm = studies.take()
    assert confirm.phase is Phase.CONFIRM
    assert studies.report(confirm.trial_id, 1, 0.0) is False


def test_another_process_goes_on_with_the_trials_that_were_running_and_their_values(open_studies, tmp_path):
    space = space_of(pruner="{name: median, n_startup_trials: 1}")
    studies = open_studies(space)
    taken = [studies.take() for _ in range(3)]
    studies.report("l1-0", 1, 0.5)
    studies.commit()
    again = open_studies(space)
    again.settle({})
    assert sorted((again.take() for _ in range(3)), key=lambda c: c.trial_id) == sorted(taken, key=lambda c: c.trial_id)
    assert again.take().trial_id == "cross_entropy-1"
    assert again.report("l1-0", 1, 0.7) is False
    again.end("l1-0", TrialEnd(TrialState.PRUNED))
    again.commit()
    assert again._searches[0].study.trials[0].intermediate_values == {1: 0.5}


@pytest.mark.parametrize("sampler", ["random", "tpe", "cmaes", "gp", "qmc", "{name: grid, points: 3}"])
def test_wherever_the_journal_ends_the_same_configurations_are_drawn(open_studies, tmp_path, sampler):
    """Also in the middle of a trial that has part of its parameters, which a power cut could leave in a journal of an earlier version."""
    space = space_of(trials=2, seeds=0, sampler=sampler)
    studies = open_studies(space)
    expected = [studies.take() for _ in range(4)]
    studies.commit()
    lines = lines_of_earlier_version(tmp_path / "studies.journal")
    for n_lines in range(len(lines)):
        (tmp_path / "studies.journal").write_text("".join(lines[:n_lines]))
        again = open_studies(space)
        again.settle({})
        taken = [again.take() for _ in range(4)]
        assert sorted(taken, key=lambda c: c.trial_id) == sorted(expected, key=lambda c: c.trial_id)
        assert again.take() is None


def test_an_end_that_was_recorded_and_not_told_is_told(open_studies):
    space = space_of()
    studies = open_studies(space)
    for _ in range(4):
        studies.take()
    studies.report("l1-0", 1, 0.1)
    studies.commit()
    again = open_studies(space)
    again.settle(
        {
            "l1-0": TrialEnd(TrialState.COMPLETE, 0.3, reports={1: 0.1, 2: 0.2, 3: 0.3}),
            "l1-1": TrialEnd(TrialState.DIVERGED, diverged_epoch=2, reports={1: 0.1, 2: float("nan")}),
            "cross_entropy-0": TrialEnd(TrialState.FAILED, error="ValueError: no"),
        }
    )
    l1, cross_entropy = (search.study.trials for search in again._searches)
    assert [trial.state for trial in l1] == [OptunaState.COMPLETE, OptunaState.PRUNED]
    assert l1[0].intermediate_values == {1: 0.1, 2: 0.2, 3: 0.3}
    assert l1[1].user_attrs["diverged"] == 2
    assert [trial.state for trial in cross_entropy] == [OptunaState.FAIL, OptunaState.RUNNING]
    assert again.take().trial_id == "cross_entropy-1"


@pytest.mark.parametrize("pruner", ["{name: successive_halving, min_resource: 1, reduction_factor: 2}", "hyperband"])
@pytest.mark.parametrize("state", [TrialState.COMPLETE, TrialState.PRUNED])
def test_a_pruner_notes_down_of_an_end_that_is_told_later_what_it_would_have_noted(open_studies, pruner, state):
    """Successive halving compares a trial with all that have reached its rung, those that it pruned there among them."""
    values = {1: 0.1, 2: 0.2, 3: 0.3} if state is TrialState.COMPLETE else {1: 0.1}
    end = TrialEnd(state, 0.3 if state is TrialState.COMPLETE else None, reports=values)
    space = space_of(pruner=pruner)
    studies = open_studies(space)
    for _ in range(4):
        studies.take()
    studies.commit()
    for epoch, value in values.items():
        studies.report("l1-0", epoch, value)
    studies.end("l1-0", end)
    expected = studies._searches[0].study.trials[0].system_attrs
    assert any("completed_rung" in name for name in expected)
    again = open_studies(space)  # the process died before its commit, and the row of the end was on the disk
    again.settle({"l1-0": end})
    assert again._searches[0].study.trials[0].system_attrs == expected


def test_rows_of_trials_that_the_journal_does_not_know_are_refused(open_studies):
    with pytest.raises(StudyError, match=r"studies\.journal: the studies do not know the trial l1-0 \(and 1 more\), which has a row"):
        open_studies(space_of()).settle({"l1-0": TrialEnd(TrialState.PRUNED), "l1-1": TrialEnd(TrialState.PRUNED)})


def test_ended_trials_without_a_row_are_refused(open_studies):
    studies = open_studies(space_of())
    complete(studies, studies.take(), 0.5)
    studies.commit()
    with pytest.raises(StudyError, match=r"the trial l1-0 has ended, but has no row in trials/ nor in the row log"):
        open_studies(space_of()).settle({})


def test_a_failed_trial_is_repeated_once_for_every_request(open_studies):
    space = space_of(trials=1, seeds=0)
    studies = open_studies(space)
    first = studies.take()
    studies.end(first.trial_id, TrialEnd(TrialState.FAILED, error="ValueError: no"))
    complete(studies, studies.take(), 0.5)
    studies.commit()
    ends = {"l1-0": TrialEnd(TrialState.FAILED), "cross_entropy-0": TrialEnd(TrialState.COMPLETE, 0.5)}
    again = open_studies(space)
    again.settle(ends)
    assert (again.finished, again.n_failed) == (True, 1)
    assert again.retry_failed() == 1
    assert again.retry_failed() == 0
    once_more = open_studies(space)  # the request outlives its process
    once_more.settle(ends)
    repeated = once_more.take()
    assert (repeated.trial_id, repeated.parameters, repeated.seed) == ("l1-1", first.parameters, first.seed)
    once_more.end("l1-1", TrialEnd(TrialState.FAILED, error="ValueError: again"))
    assert once_more.n_failed == 1
    assert once_more.retry_failed() == 1
    assert once_more.take().trial_id == "l1-2"


def test_failures_are_counted_across_processes(open_studies):
    space = space_of()
    studies = open_studies(space)
    config = studies.take()
    studies.release(config.trial_id, failed=True)
    studies.commit()
    again = open_studies(space)
    again.settle({})
    assert again.take() == config
    assert again.failures(config.trial_id) == 1


def test_another_space_is_refused_with_the_difference(open_studies, tmp_path):
    open_studies(space_of()).commit()
    with pytest.raises(StudyError) as refusal:
        open_studies(space_of(trials=4))
    path = tmp_path / "sweep.yaml"
    lines = str(refusal.value).splitlines()
    assert lines[0] == f"{path}: the space has changed since the sweep began; undo the change, or run it as a new sweep:"
    assert "  -compare: {arms: loss, searches: 1, trials_per_arm: 3, seeds: 2, margin: 0.5}" in lines
    assert "  +compare: {arms: loss, searches: 1, trials_per_arm: 4, seeds: 2, margin: 0.5}" in lines
