"""Draws that depend on the trial alone."""

import optuna
import pytest

from sweeper.studies.optuna_internals import TPE_GOOD_TRIALS
from sweeper.studies.sampling import CappedStudy, PerTrialSampler, mixed_seed


def _study(make, seed=7):
    return optuna.create_study(sampler=PerTrialSampler(make, seed), study_name="arm")


def _draw(trial, names=("x", "y", "z")):
    return {name: trial.suggest_float(name, 0, 1) for name in names}


def _random(seed):
    return optuna.samplers.RandomSampler(seed=seed)


def test_a_seed_mixes_every_part_and_their_order():
    assert mixed_seed(1, "a") == mixed_seed(1, "a")
    seeds = {mixed_seed(1, "a"), mixed_seed("a", 1), mixed_seed(1, "b"), mixed_seed(2, "a"), mixed_seed(1, "a", 0), mixed_seed(1)}
    assert len(seeds) == 6
    assert all(0 <= seed < 2**32 for seed in seeds)


def test_a_study_that_is_opened_again_draws_what_it_would_have_drawn():
    whole = _study(_random)
    expected = [_draw(whole.ask()) for _ in range(6)]
    storage = optuna.storages.InMemoryStorage()
    drawn = []
    for _ in range(6):  # a new process for every trial
        study = optuna.create_study(storage=storage, study_name="arm", load_if_exists=True, sampler=PerTrialSampler(_random, 7))
        drawn.append(_draw(study.ask()))
    assert drawn == expected
    assert len({tuple(each.values()) for each in drawn}) == 6


def test_a_trial_interrupted_between_two_parameters_draws_the_rest_as_if_it_were_not():
    expected = _draw(_study(_random).ask())
    study = _study(_random)
    trial = study.ask()
    first = _draw(trial, names=("x",))
    adopted = optuna.Trial(study, trial._trial_id)
    assert first | _draw(adopted, names=("y", "z")) == expected
    assert _draw(adopted) == expected


def test_different_sweep_seeds_draw_different_configurations():
    assert _draw(_study(_random, seed=1).ask()) != _draw(_study(_random, seed=2).ask())


@pytest.mark.parametrize("reopened", [False, True])
def test_tpe_learns_from_finished_trials_whether_or_not_it_is_opened_again(reopened):
    def make(seed):
        return optuna.samplers.TPESampler(seed=seed, n_startup_trials=5)

    storage = optuna.storages.InMemoryStorage()
    study = None
    for _ in range(30):
        if study is None or reopened:
            study = optuna.create_study(storage=storage, study_name="arm", load_if_exists=True, sampler=PerTrialSampler(make, 3))
        trial = study.ask()
        x = trial.suggest_float("x", 0, 1)
        study.tell(trial, (x - 0.3) ** 2)
    late = [trial.params["x"] for trial in study.trials[15:]]
    early = [trial.params["x"] for trial in study.trials[:5]]
    assert sum(abs(x - 0.3) for x in late) / len(late) < 0.5 * sum(abs(x - 0.3) for x in early) / len(early)


def _finished_study(n_complete, n_pruned=0, direction="maximize"):
    """A study of finished trials in a fixed disorder, and one that runs."""
    study = optuna.create_study(study_name="arm", direction=direction)
    x = optuna.distributions.FloatDistribution(0, 1)
    for number in range(n_complete + n_pruned):
        value = (number * 7919 % 1009) / 1009
        complete = number % (1 + n_pruned // max(1, n_complete)) == 0 if n_pruned else True
        ended = {"value": value} if complete else {"state": optuna.trial.TrialState.PRUNED}
        study.add_trial(optuna.trial.create_trial(params={"x": value}, distributions={"x": x}, intermediate_values={1: value}, **ended))
    study.ask()
    return study


def test_a_study_of_up_to_so_many_finished_trials_is_shown_as_it_is():
    study = _finished_study(40)
    assert CappedStudy(40).of(study) is study


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_a_larger_study_is_shown_by_its_best_and_its_newest_trials(direction):
    study = _finished_study(300, direction=direction)
    shown = [trial.number for trial in CappedStudy(100).of(study).get_trials(deepcopy=False)]
    best = sorted(study.trials[:300], key=lambda trial: trial.value, reverse=direction == "maximize")[:TPE_GOOD_TRIALS]
    assert {trial.number for trial in best} <= set(shown)
    others = sorted(set(shown) - {trial.number for trial in best} - {300})
    newest = [number for number in range(299, -1, -1) if number not in {trial.number for trial in best}]
    assert others == sorted(newest[: 100 - TPE_GOOD_TRIALS])
    assert shown == sorted(shown)
    assert shown[-1] == 300  # the running trial: TPE keeps away from it


def test_a_pruned_trial_counts_among_the_best_only_where_complete_ones_are_few():
    study = _finished_study(10, 200)
    shown = CappedStudy(50).of(study).get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    assert len(shown) == len(study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,)))


def test_what_is_shown_does_not_depend_on_when_it_was_looked_at():
    study, shown = _finished_study(120), CappedStudy(50)
    shown.of(study)
    late = [trial for trial in study.trials if not trial.state.is_finished()]
    study.tell(late[0].number, 2.0)  # the best of all, by a trial that is older than the next
    for number in range(100):
        study.add_trial(optuna.trial.create_trial(value=number / 1000))
    looks = [[trial.number for trial in each.of(study).get_trials(deepcopy=False)] for each in (shown, CappedStudy(50))]
    assert looks[0] == looks[1]
    assert late[0].number in looks[0]


def test_tpe_splits_off_the_same_good_trials_from_the_view_as_from_the_whole_study():
    from optuna.samplers._tpe.sampler import _split_trials

    states = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
    for study in (_finished_study(300), _finished_study(20, 300)):
        whole, view = (each.get_trials(deepcopy=False, states=states) for each in (study, CappedStudy(280).of(study)))
        assert len(view) == 280 < len(whole)
        good = [[trial.number for trial in _split_trials(study, trials, TPE_GOOD_TRIALS)[0]] for trials in (whole, view)]
        assert good[0] == good[1]


def test_draws_are_those_of_the_whole_study_until_it_holds_more_than_is_shown():
    def make(seed):
        return optuna.samplers.TPESampler(seed=seed)

    drawn = {}
    for most_finished in (None, 40):
        study = optuna.create_study(study_name="arm", sampler=PerTrialSampler(make, 3, most_finished))
        for _ in range(60):
            trial = study.ask()
            study.tell(trial, (trial.suggest_float("x", 0, 1) - 0.3) ** 2)
        drawn[most_finished] = [trial.params["x"] for trial in study.trials]
    assert drawn[40][:41] == drawn[None][:41]
    assert drawn[40][41:] != drawn[None][41:]


@pytest.mark.parametrize("group", [False, True])
@pytest.mark.parametrize("most_finished", [None, 30])
def test_what_is_kept_for_trials_that_join_together_changes_no_draw(group, most_finished):
    """Five trials at a time run and end, pruned, complete and failed, against a sampler that infers anew for each of them."""

    class Anew(PerTrialSampler):
        def infer_relative_search_space(self, study, trial):
            self._inferred = self._grouped = None
            return super().infer_relative_search_space(study, trial)

    drawn = []
    for kind in (PerTrialSampler, Anew):
        make = lambda seed: optuna.samplers.TPESampler(seed=seed, n_startup_trials=5, group=group, multivariate=True)  # noqa: E731
        study = optuna.create_study(study_name="arm", sampler=kind(make, 3, most_finished))
        for number in range(16):
            running = [study.ask() for _ in range(5)]
            for trial in running:
                x = trial.suggest_float("x", 0, 1)
                y = trial.suggest_float("y", 0, 1) if number % 2 else 0.0
                trial.report(x + y, 1)
            for trial, ended in zip(running, ("PRUNED", "COMPLETE", "COMPLETE", "FAIL", "COMPLETE"), strict=True):
                values = trial.params["x"] if ended == "COMPLETE" else None
                study.tell(trial, values, state=optuna.trial.TrialState[ended])
        drawn.append([trial.params for trial in study.trials])
    assert drawn[0] == drawn[1]
    assert len({tuple(params) for params in drawn[0]}) == 2


@pytest.mark.parametrize("most_finished", [None, 30])
def test_under_hyperband_tpe_learns_from_all_brackets_up_to_as_many_trials_as_it_is_shown(most_finished):
    """Optuna hands the sampler a study whose ``get_trials`` leaves out all brackets but the trial's own."""
    looked_at = []

    class Looking(optuna.samplers.TPESampler):
        def sample_relative(self, study, trial, search_space):
            looked_at.append({each.number for each in study._get_trials(deepcopy=False)})
            return super().sample_relative(study, trial, search_space)

    study = optuna.create_study(
        study_name="arm",
        sampler=PerTrialSampler(lambda seed: Looking(seed=seed, n_startup_trials=2), 3, most_finished),
        pruner=optuna.pruners.HyperbandPruner(min_resource=1, max_resource=9, reduction_factor=3),
    )
    for _ in range(40):
        trial = study.ask()
        value = trial.suggest_float("x", 0, 1)
        trial.report(value, 1)
        if trial.should_prune():
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            study.tell(trial, value)
    assert {trial.state for trial in study.trials} == {optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED}
    assert [len(shown) for shown in looked_at[:5]] == [2, 3, 4, 5, 6]
    assert len(looked_at[-1]) == (40 if most_finished is None else 31)
    assert 39 in looked_at[-1]
