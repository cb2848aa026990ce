"""Draws that depend on the trial alone."""

import optuna
import pytest

from sweeper.sampling import PerTrialSampler, mixed_seed


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
