"""What is used of Optuna beside its public API is there and does what it is used for. With a new Optuna, run this first."""

import contextlib
import json
import math
import tomllib
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from sweeper.studies import optuna_internals
from sweeper.studies.journal import SingleWriterJournal

ROOT = Path(__file__).parents[2]
X = optuna.distributions.FloatDistribution(0, 1)


@contextlib.contextmanager
def needs(function, part):
    """Fail with one sentence where the block fails: the installed Optuna has changed."""
    try:
        yield
    except Exception as error:
        said = f"{type(error).__name__}: {error}".splitlines()[0]
        pytest.fail(
            f"Optuna {optuna.__version__} no longer has {part} as sweeper.studies.optuna_internals.{function} needs it: {said}",
            pytrace=False,
        )


@pytest.fixture(autouse=True)
def quiet():
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def _add(study, value, state=TrialState.COMPLETE, reports=None):
    ended = {"value": value} if state is TrialState.COMPLETE else {"state": state}
    trial = optuna.trial.create_trial(params={"x": value}, distributions={"x": X}, intermediate_values=reports or {}, **ended)
    study.add_trial(trial)


def test_the_tested_versions_are_those_that_the_package_admits_and_the_installed_optuna_is_one():
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert f"optuna{optuna_internals.VERSIONS}" in wanted
    low, high = (tuple(map(int, bound.lstrip("<>=").split("."))) for bound in optuna_internals.VERSIONS.split(","))
    installed = tuple(map(int, optuna.__version__.split(".")[:2]))
    assert low <= installed < high, f"Optuna {optuna.__version__} is outside {optuna_internals.VERSIONS}: see optuna_internals.py"


def test_a_part_that_optuna_no_longer_has_fails_with_a_sentence(monkeypatch):
    monkeypatch.delattr(optuna.Study, "_get_trials")
    sentence = (
        r"^Optuna \S+ no longer has Study\._get_trials as sweeper\.studies\.optuna_internals\.all_trials needs it: AttributeError: .+$"
    )
    with pytest.raises(pytest.fail.Exception, match=sentence), needs("all_trials", "Study._get_trials"):
        optuna_internals.all_trials(optuna.create_study())


def test_a_running_trial_is_taken_up_again_by_its_number():
    with needs("resumed_trial", "Trial(study, FrozenTrial._trial_id)"):
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
        study.tell(study.ask(), 1.0)
        x = study.ask().suggest_float("x", 0, 1)
        trial = optuna_internals.resumed_trial(study, 1)
        assert (trial.number, trial.suggest_float("x", 0, 1)) == (1, x)
        trial.report(0.5, 1)
        study.tell(trial, 2.0)
        assert [(each.value, each.intermediate_values) for each in study.trials] == [(1.0, {}), (2.0, {1: 0.5})]


def test_a_trial_tells_the_epochs_that_it_has_reported_before_and_after_it_is_taken_up_again():
    with needs("reported_epochs", "Trial._cached_frozen_trial"):
        study = optuna.create_study()
        trial = study.ask()
        assert list(optuna_internals.reported_epochs(trial)) == []
        trial.report(0.5, 1)
        trial.report(0.5, 3)
        assert set(optuna_internals.reported_epochs(trial)) == {1, 3}
        assert set(optuna_internals.reported_epochs(optuna_internals.resumed_trial(study, 0))) == {1, 3}


def test_all_trials_are_those_of_every_bracket_of_hyperband():
    counts = []

    class Counting(optuna.samplers.RandomSampler):
        def sample_independent(self, study, trial, param_name, param_distribution):
            counts.append((len(optuna_internals.all_trials(study)), len(study.get_trials(deepcopy=False))))
            return super().sample_independent(study, trial, param_name, param_distribution)

    with needs("all_trials", "Study._get_trials"):
        pruner = optuna.pruners.HyperbandPruner(min_resource=1, max_resource=9, reduction_factor=3)
        study = optuna.create_study(sampler=Counting(seed=0), pruner=pruner, study_name="s")
        for _ in range(20):
            trial = study.ask()
            trial.report(trial.suggest_float("x", 0, 1), 1)
            trial.should_prune()
        assert [every for every, _ in counts] == list(range(1, 21))
        assert counts[-1][1] < 20, "get_trials() no longer leaves out other brackets: it is public, so use it"


def test_a_sampler_reads_what_a_view_shows_and_no_more():
    def draw(study):
        sampler = optuna.samplers.TPESampler(seed=3, n_startup_trials=5)
        return sampler.sample_independent(study, running, "x", X)

    with needs("StudyView", "Study._get_trials, by which samplers read a study,"):
        study = optuna.create_study(study_name="s")
        for number in range(30):
            _add(study, number / 30)
        small = optuna.create_study(study_name="t")
        for number in range(10):
            _add(small, number / 30)
        running = optuna.trial.FrozenTrial(99, TrialState.RUNNING, None, None, None, {}, {}, {}, {}, {}, 99)
        trials = optuna_internals.all_trials(study)
        assert draw(optuna_internals.StudyView(study, trials)) == draw(study)
        assert draw(optuna_internals.StudyView(study, trials[:10])) == draw(small) != draw(study)


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_the_order_of_trials_is_that_by_which_tpe_splits_off_the_good_ones(direction):
    with needs("tpe_rank", "_split_trials in optuna.samplers._tpe.sampler with that order"):
        from optuna.samplers._tpe.sampler import _split_trials, default_gamma

        study = optuna.create_study(direction=direction)
        for number in range(40):
            value = (number * 29 % 41) / 41
            if number % 3:
                _add(study, value, TrialState.PRUNED, {1: value, 2: value} if number % 2 else {1: math.nan if number % 5 == 0 else value})
            else:
                _add(study, value)
        _add(study, 0.5, TrialState.PRUNED)
        trials = study.get_trials(deepcopy=False)
        ranked = sorted(trials, key=lambda trial: optuna_internals.tpe_rank(trial, 1.0 if direction == "minimize" else -1.0))
        for n_good in range(1, len(trials)):
            good, _ = _split_trials(study, list(trials), n_good)
            assert {trial.number for trial in good} == {trial.number for trial in ranked[:n_good]}, n_good
        assert max(map(default_gamma, range(10_000))) == optuna_internals.TPE_GOOD_TRIALS


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_sampler_draws_the_point_of_its_sequence_that_it_is_told():
    space = {"x": X, "y": X}
    with needs("draw_point", "QMCSampler._find_sample_id"):
        study = optuna.create_study(sampler=optuna.samplers.QMCSampler(seed=5))
        study.optimize(lambda trial: trial.suggest_float("x", 0, 1) + trial.suggest_float("y", 0, 1), n_trials=6)
        drawn = [
            optuna_internals.draw_point(optuna.samplers.QMCSampler(seed=5), n).sample_relative(study, study.trials[0], space)
            for n in range(5)
        ]
        assert drawn == [trial.params for trial in study.trials[1:]]


def test_an_ask_looks_for_a_trial_that_waits_and_for_no_other(tmp_path):
    asked = []

    class Noting(optuna_internals.DriverStorage):
        def get_all_trials(self, study_id, deepcopy=True, states=None):
            asked.append(states)
            return super().get_all_trials(study_id, deepcopy, states)

    with needs("DriverStorage", "get_all_trials(study_id, states=(TrialState.WAITING,)) as what Study.ask reads"):
        storage = Noting(SingleWriterJournal(tmp_path / "studies.journal"))
        study = optuna.create_study(storage=storage, sampler=optuna.samplers.RandomSampler())
        asked.clear()
        study.ask()
        assert asked == [(TrialState.WAITING,)]


def test_every_line_of_a_journal_is_known_as_a_record_and_a_key_of_ours_is_ignored(tmp_path):
    path = tmp_path / "journal"
    with needs("is_journal_record", "op_code and worker_id in each record of its journal, or a reader that ignores other keys,"):
        study = optuna.create_study(storage=JournalStorage(JournalFileBackend(str(path))), study_name="s")
        study.enqueue_trial({"x": 0.5})
        trial = study.ask()
        trial.suggest_float("x", 0, 1)
        trial.report(0.5, 1)
        trial.set_user_attr("seed", 1)
        study.set_user_attr("space", "text")
        study.tell(trial, 1.0)
        records = [json.loads(line) for line in path.read_text().splitlines()]
        assert len(records) >= 7
        assert all(map(optuna_internals.is_journal_record, records))
        path.write_text("".join(json.dumps(record | {"records": 1}) + "\n" for record in records))
        again = optuna.load_study(study_name="s", storage=JournalStorage(JournalFileBackend(str(path))))
        assert [(each.params, each.value, each.user_attrs) for each in again.trials] == [({"x": 0.5}, 1.0, {"seed": 1})]


def test_the_driver_s_storage_finds_what_waits_wherever_optuna_s_own_does(tmp_path):
    storage = optuna_internals.DriverStorage(SingleWriterJournal(tmp_path / "studies.journal"))
    study, other = (optuna.create_study(storage=storage, study_name=name, sampler=optuna.samplers.RandomSampler(seed=0)) for name in "so")
    waiting = (optuna.trial.TrialState.WAITING,)

    def waits(study):
        numbers = [trial.number for trial in storage.get_all_trials(study._study_id, deepcopy=False, states=waiting)]
        assert numbers == [trial.number for trial in study.trials if trial.state in waiting]
        return numbers

    asked = []
    for step in range(12):
        if step in (0, 1, 5, 6):
            study.enqueue_trial({"x": step / 100})
        if step in (3, 9):
            other.enqueue_trial({"x": 0.5})
        waits(study)
        waits(other)
        trial = study.ask()
        asked.append((trial.number, trial.suggest_float("x", 0, 1)))
    assert [number for number, _ in asked] == list(range(12))
    assert [round(x, 2) for number, x in asked if number in (0, 1, 5, 6)] == [0.0, 0.01, 0.05, 0.06]
    assert waits(study) == []
    assert waits(other) == [0, 1]
    for value in (0.1, 0.2):  # two at once: the second is found behind the first
        study.enqueue_trial({"x": value})
    assert waits(study) == [12, 13]
    assert [study.ask().suggest_float("x", 0, 1) for _ in range(2)] == [0.1, 0.2]


def test_a_sampler_that_is_given_the_groups_that_another_inferred_draws_as_if_it_had_inferred_them():
    study = optuna.create_study()
    for number in range(20):
        trial = study.ask()
        value = trial.suggest_float("x", 0, 1) + (trial.suggest_float("y", 0, 1) if number % 2 else 0.0)
        study.tell(trial, value)
    samplers = [optuna.samplers.TPESampler(seed=1, multivariate=True, group=True) for _ in range(2)]
    study.ask()
    running = study.trials[-1]
    space = samplers[0].infer_relative_search_space(study, running)
    with needs("take_groups", "TPESampler._search_space_group"):
        optuna_internals.take_groups(samplers[1], samplers[0])
        drawn = [sampler.sample_relative(study, running, space) for sampler in samplers]
    assert drawn[0] == drawn[1]
    assert drawn[0].keys() == {"x", "y"}
