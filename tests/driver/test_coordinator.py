"""What the coordinator decides, on real studies, rows and files, with curves from a formula for training."""

import dataclasses
import io
import itertools
import math

import pandas as pd
import pytest
from click.testing import CliRunner
from faults.invariants import check_sweep, plain_studies, tables
from faults.simulation import TEST, Worker, curve, never, new_sweep, run_sweep, run_with_copies
from optuna.trial import TrialState as OptunaState
from rich.console import Console

from sweeper.cli import cli
from sweeper.driver.coordinator import OUT_OF_MEMORY_ADVICE, Coordinator
from sweeper.driver.events import Notice, TrialEnded, TrialJoined, TrialReturned, ignore
from sweeper.driver.messages import Failure, PackReport
from sweeper.records import Phase, TestMetrics, TrialOutcome, TrialState
from sweeper.space import parse_space
from sweeper.store import SweepFolder
from sweeper.sweep import _open
from sweeper.view.watch import Watcher

SPACE = """
name: coordinated
dataset: {{name: synthetic}}
training: {{epochs: 3}}
parameters:
  loss: {{choices: [l1, cross_entropy]}}
  learning_rate: {{low: 1e-3, high: 0.5, log: true}}
compare: {{arms: loss, searches: 1, trials_per_arm: 4, seeds: 2}}
search: {{metric: {metric}, sampler: {sampler}, pruner: {pruner}}}
resources: {{max_failures: {max_failures}}}
seed: 3
"""
HALVING = "{name: successive_halving, min_resource: 1, reduction_factor: 2}"


def space_with(metric="val_accuracy", max_failures=0, sampler="random", pruner="none"):
    return parse_space(SPACE.format(metric=metric, max_failures=max_failures, sampler=sampler, pruner=pruner), "space.yaml")


def spoiled(metric, value, phase, at):
    """Curves like any other, but for one figure of trial 1 of a phase in one epoch."""

    def train(config, epoch):
        metrics = curve(config, epoch)
        hit = config.phase is phase and config.number == 1 and epoch == at
        return dataclasses.replace(metrics, **{metric: value}) if hit else metrics

    return train


def look_at(folder, *trials):
    """Show a sweep in every way that there is; an error if one of them does not."""
    for arguments in (["status"], ["show"], ["report"], ["report", "--format", "json"], *(["show", trial] for trial in trials)):
        command, *rest = arguments
        shown = CliRunner().invoke(cli, [command, str(folder), *rest])
        assert shown.exit_code == 0, (arguments, shown.output, shown.exception)


NOT_FINITE = [math.nan, math.inf, -math.inf]


@pytest.mark.parametrize("at", [1, 2, 3])
@pytest.mark.parametrize("phase", list(Phase))
@pytest.mark.parametrize(("value", "size"), [(math.nan, 1), *((value, 3) for value in NOT_FINITE)])
def test_a_trial_whose_search_metric_is_not_finite_has_diverged(tmp_path, value, phase, at, size):
    space = space_with("val_nll", sampler="tpe", pruner=HALVING if at == 1 else "none")
    folder = new_sweep(tmp_path / "sweep", space)
    assert run_sweep(folder, space, size=size, n_packs=2, train=spoiled("val_nll", value, phase, at)) == 0
    check_sweep(tmp_path / "sweep")
    trials = tables(tmp_path / "sweep")[0].set_index("trial")
    for arm in ("l1", "cross_entropy"):
        row = trials.loc[f"{arm}-confirm-1" if phase is Phase.CONFIRM else f"{arm}-1"]
        assert (row["state"], row["diverged_epoch"], row["epochs"]) == ("diverged", at, at)
        assert math.isnan(row["value"])
        if at > 1:
            assert row["best_epoch"] < at
    assert run_sweep(folder, space) == 0  # a resume has nothing to do, and says the same
    check_sweep(tmp_path / "sweep")
    if at == 2 and size == 3:
        look_at(folder, "l1-1", "l1-confirm-1")


@pytest.mark.parametrize("value", NOT_FINITE)
def test_a_sweep_whose_every_trial_diverges_ends_without_a_confirm_phase(tmp_path, value):
    space = space_with("val_nll")
    folder = new_sweep(tmp_path / "sweep", space)
    assert run_sweep(folder, space, size=4, train=lambda config, epoch: dataclasses.replace(curve(config, epoch), val_nll=value)) == 0
    check_sweep(tmp_path / "sweep")
    look_at(folder, "l1-0")


@pytest.mark.parametrize("value", NOT_FINITE)
def test_figures_of_the_test_split_that_are_not_finite_are_kept_and_shown(tmp_path, value):
    space = space_with()
    folder = new_sweep(tmp_path / "sweep", space)
    test = dataclasses.replace(TEST, test_loss=value, test_nll=value, test_brier=value)
    assert run_sweep(folder, space, test=test) == 0
    check_sweep(tmp_path / "sweep")
    look_at(folder, "l1-confirm-0")


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_figures_of_the_test_split_change_no_parameter_no_pick_and_no_end(tmp_path, sampler, size):
    """Those of one sweep are as good as can be, those of the other as bad."""
    space = space_with(sampler=sampler, pruner=HALVING)
    for name, test in (("good", TestMetrics(0.0, 1.0, 0.0, 0.0, 0.0)), ("bad", TestMetrics(9.0, 0.0, 9.0, 2.0, 1.0))):
        run_sweep(new_sweep(tmp_path / name, space), space, size=size, test=test)
        check_sweep(tmp_path / name)
    (good, good_epochs), (bad, bad_epochs) = (tables(tmp_path / name) for name in ("good", "bad"))
    read = [name for name in good if name.startswith("test_")]
    is_complete = (good["state"] == "complete") & (good["phase"] == "search")
    assert 0 < is_complete.sum() < (good["phase"] == "search").sum()
    assert (good.loc[is_complete, "test_accuracy"] == 1).all()
    assert (bad.loc[is_complete, "test_accuracy"] == 0).all()
    pd.testing.assert_frame_equal(*(found.drop(columns=["sweep", *read]) for found in (good, bad)), check_exact=True)
    pd.testing.assert_frame_equal(*(found.drop(columns="sweep") for found in (good_epochs, bad_epochs)), check_exact=True)


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("at", [2, 3])
def test_a_process_that_dies_after_the_last_epoch_leaves_a_trial_whose_test_figures_are_read_again(tmp_path, phase, at):
    """``at``: the epoch whose report is lost with the process; after the last one nothing is left to be trained."""
    space = space_with()
    folder = new_sweep(tmp_path / "sweep", space)
    recorder, studies = _open(space, folder)
    coordinator = Coordinator(space, studies, recorder, folder, ignore)
    members = coordinator.start_pack("pack", 2)
    while members[0].phase is not phase:
        worker = Worker(folder, members, 3, never)
        while not (decision := coordinator.report("pack", worker.step())).empty:
            worker.drop(decision.remove)
        coordinator.closed("pack")
        members = coordinator.start_pack("pack", 2)
    worker = Worker(folder, members, 3, never)
    for _ in range(at - 1):
        coordinator.report("pack", worker.step())
    worker.step()  # its report is lost with the process
    recorder.close()
    studies.close()
    assert run_sweep(folder, space, size=2) == 0
    check_sweep(tmp_path / "sweep")
    trials = tables(tmp_path / "sweep")[0].set_index("trial")
    assert (trials.loc[[config.trial_id for config in members], "test_accuracy"] == TEST.test_accuracy).all()


@pytest.mark.parametrize("value", NOT_FINITE)
def test_a_folder_that_an_earlier_version_left_with_a_complete_row_and_no_value_is_resumed(tmp_path, value):
    """There the row was written, Optuna refused the value, and so did every resume."""
    space = space_with("val_nll")
    folder = new_sweep(tmp_path / "sweep", space)
    recorder, studies = _open(space, folder)
    config = studies.take()
    train = spoiled("val_nll", value, Phase.SEARCH, 3)
    epochs = [recorder.epoch(config, train(dataclasses.replace(config, number=1), epoch)) for epoch in (1, 2, 3)]
    for metrics in epochs:
        studies.report(config.trial_id, metrics.epoch, metrics.val_nll)
    recorder.outcome(TrialOutcome(config, TrialState.COMPLETE, value, tuple(epochs), pack="pack-0"))
    recorder.commit()
    studies.commit()
    recorder.close()
    studies.close()
    assert run_sweep(folder, space) == 0
    check_sweep(tmp_path / "sweep")
    found = tables(tmp_path / "sweep")[0].set_index("trial").loc["l1-0"]
    assert (found["state"], found["diverged_epoch"]) == ("diverged", 3)
    assert math.isnan(found["value"])


class Counting(Watcher):
    """An observer that fails when more trials have ended or run than are planned."""

    def __init__(self):
        super().__init__(Console(file=io.StringIO()), verbose=False)

    def __call__(self, event):
        super().__call__(event)
        for part in self.snapshot().parts:
            assert part.ended + part.running <= part.planned, part


def stopped_after(n_steps):
    left = iter(range(n_steps))
    return lambda studies: next(left, None) is None


@pytest.mark.parametrize("fails_again", [False, True])
@pytest.mark.parametrize("size", [1, 3])
def test_failed_trials_are_repeated_once_whenever_it_is_asked_for(tmp_path, size, fails_again):
    """At every point of a sweep, and at the next one again: in the search, before, in and after the confirm phase."""
    space = space_with()

    def fails(config, epoch):
        return config.number == 1 and epoch == 2

    def fails_twice(config, epoch):
        return config.number in {1, 4} and epoch == 2

    reached = set()
    for path in run_with_copies(tmp_path / "sweep", space, every=3 if size == 1 else 2, n_packs=2, size=size, fails=fails):
        folder = SweepFolder(str(path))
        states = {name: [trial.state for trial in study.trials] for name, study in plain_studies(path).items()}
        reached.add((OptunaState.FAIL in states["l1"], "l1/confirm" in states, OptunaState.FAIL in states.get("l1/confirm", [])))
        for until in (stopped_after(2), None):
            options = {"fails": fails_twice if fails_again else fails, "until": until, "observer": Counting()}
            run_sweep(folder, space, n_packs=2, size=size, retry_failed=True, **options)
        run_sweep(folder, space, n_packs=2, size=size, retry_failed=True, observer=Counting())
        assert run_sweep(folder, space, n_packs=2, size=size, retry_failed=True, observer=Counting()) == 0
        studies = plain_studies(path)
        repeats = [trial.user_attrs["retry_of"] for study in studies.values() for trial in study.trials if "retry_of" in trial.user_attrs]
        check_sweep(path, n_retried=len(repeats))
        for study in studies.values():
            repeated = [trial.user_attrs["retry_of"] for trial in study.trials if "retry_of" in trial.user_attrs]
            assert sorted(repeated) == [trial.number for trial in study.trials if trial.state is OptunaState.FAIL]
            assert len(set(repeated)) == len(repeated)
    assert {(False, False, False), (True, False, False), (True, True, False), (True, True, True)} <= reached


def dies_of(*numbers, at=2):
    return lambda config, epoch: config.number in numbers and config.phase is Phase.SEARCH and config.arm == "l1" and epoch == at


@pytest.mark.parametrize("numbers", [(1,), (0, 3)])
@pytest.mark.parametrize("max_failures", [0, 1, 2])
def test_of_a_pack_whose_process_dies_only_the_guilty_fail(tmp_path, max_failures, numbers):
    space = space_with(max_failures=max_failures)
    folder = new_sweep(tmp_path / "sweep", space)
    assert run_sweep(folder, space, size=8, dies=dies_of(*numbers)) == len(numbers)
    check_sweep(tmp_path / "sweep")
    trials = tables(tmp_path / "sweep")[0].set_index("trial")
    failed = trials[trials["state"] == "failed"]
    assert sorted(failed.index) == [f"l1-{number}" for number in numbers]
    assert set(failed["attempts"]) == {1 + max_failures}
    assert set(trials[trials["state"] == "complete"]["attempts"]) == {1}


def test_nobody_joins_a_trial_that_is_tried_alone(tmp_path):
    folder = new_sweep(tmp_path / "sweep", space := space_with())
    run_sweep(folder, space, size=3, dies=dies_of(1))  # in the first pack: l1-0, cross_entropy-0 and l1-1
    packs = tables(tmp_path / "sweep")[0].set_index("trial")["pack"]
    assert [sum(packs == packs[trial]) for trial in ("l1-0", "cross_entropy-0", "l1-1")] == [1, 1, 1]
    assert packs["cross_entropy-1"] == packs["l1-2"] == packs["cross_entropy-2"]


@pytest.mark.parametrize("max_failures", [0, 2])
def test_who_is_tried_alone_is_tried_alone_after_a_resume_too(tmp_path, max_failures):
    space = space_with(max_failures=max_failures)
    dies = dies_of(1)
    for path in run_with_copies(tmp_path / "sweep", space, size=8, dies=dies):
        assert run_sweep(SweepFolder(str(path)), space, size=8, dies=dies) == 1
        check_sweep(path)
        trials = tables(path)[0].set_index("trial")
        assert list(trials[trials["state"] == "failed"].index) == ["l1-1"]
        assert trials.loc["l1-1"]["attempts"] == 1 + max_failures


class Told:
    """An observer that keeps the notices, and the most members that were in training at once since each of them."""

    def __init__(self):
        self.notices, self.most, self._running = [], [0], set()

    def __call__(self, event):
        match event:
            case Notice(line):
                self.notices.append(line)
                self.most.append(0)
            case TrialJoined(config):
                self._running.add(config.trial_id)
                self.most[-1] = max(self.most[-1], len(self._running))
            case TrialReturned(config):
                self._running.remove(config.trial_id)
            case TrialEnded(outcome):
                self._running.remove(outcome.config.trial_id)


@pytest.mark.parametrize("kills", [False, True])
@pytest.mark.parametrize("refill", [False, True])
@pytest.mark.parametrize(("size", "full", "halved"), [(8, 8, []), (8, 7, [4]), (8, 3, [4, 2]), (8, 1, [4, 2, 1]), (3, 2, [1]), (1, 1, [])])
def test_a_pack_that_is_out_of_memory_halves_the_packs_to_come(tmp_path, size, full, halved, refill, kills):
    """Until they fit; it is told once for each new size, counts for no trial, and nobody is tried alone who need not be."""
    folder = new_sweep(tmp_path / "sweep", space := space_with(max_failures=0))
    told = Told()
    assert run_sweep(folder, space, size=size, full=full, full_kills=kills, refill=refill, observer=told) == 0
    check_sweep(tmp_path / "sweep")
    sizes = [size, *halved]
    assert told.notices == [
        f"out of memory with packs of {before} trials: going on with at most {after}" for before, after in zip(sizes, halved, strict=False)
    ]
    assert told.most == sizes
    trials = tables(tmp_path / "sweep")[0]
    assert set(trials["attempts"]) == {1}
    assert trials["pack"].value_counts().max() >= sizes[-1]


@pytest.mark.parametrize("kills", [False, True])
def test_a_trial_that_finds_no_memory_alone_either_has_failed(tmp_path, kills):
    space = space_with(max_failures=1)
    folder = new_sweep(tmp_path / "sweep", space)
    assert run_sweep(folder, space, size=8, full=0, full_kills=kills) == 8
    trials = tables(tmp_path / "sweep")[0]
    assert set(trials["attempts"]) == {2}
    assert trials["error"].str.endswith(OUT_OF_MEMORY_ADVICE).all()


def test_packs_halved_for_memory_begin_at_the_spaces_size_again_after_a_resume_and_lose_nothing(tmp_path):
    space = space_with()
    for path in run_with_copies(tmp_path / "sweep", space, size=8, full=2):
        told = Told()
        assert run_sweep(SweepFolder(str(path)), space, size=8, full=2, observer=told) == 0
        check_sweep(path)
        assert all(after <= before for before, after in itertools.pairwise(told.most[1:]))


def test_a_member_whose_own_loss_is_out_of_memory_is_tried_alone_and_halves_nothing(tmp_path):
    folder = new_sweep(tmp_path / "sweep", space := space_with())
    recorder, studies = _open(space, folder)
    told = Told()
    coordinator = Coordinator(space, studies, recorder, folder, told)
    members = coordinator.start_pack("pack", 3)
    failure = Failure("OutOfMemoryError: CUDA out of memory", "Traceback ...", out_of_memory=True)
    epochs = {config.trial_id: [curve(config, 1)] for config in members[1:]}
    decision = coordinator.report("pack", PackReport("cpu", epochs, failures={members[0].trial_id: failure}))
    assert decision.remove == (members[0].trial_id,)
    assert coordinator.start_pack("alone", 3) == members[:1]
    assert len(coordinator.start_pack("others", 3)) == 3
    assert not told.notices
    recorder.close()
    studies.close()


def test_a_member_whose_own_loss_raises_fails_at_once_and_holds_up_nobody(tmp_path):
    space = space_with(max_failures=0)
    folder = new_sweep(tmp_path / "sweep", space)
    assert run_sweep(folder, space, size=8, fails=lambda config, epoch: config.trial_id == "l1-1") == 1
    trials = tables(tmp_path / "sweep")[0].set_index("trial")
    assert trials.loc["l1-1"]["pack"] == trials.loc["cross_entropy-0"]["pack"]


def test_what_is_left_counts_a_trial_in_training_by_the_epochs_that_it_lacks(tmp_path):
    space = space_with()
    folder = new_sweep(tmp_path / "sweep", space)
    recorder, studies = _open(space, folder)
    coordinator = Coordinator(space, studies, recorder, folder, ignore)
    try:
        assert coordinator.n_left == 8
        worker = Worker(folder, coordinator.start_pack("pack", 3), 3, never)
        assert coordinator.n_left == 8
        coordinator.report("pack", worker.step())
        assert coordinator.n_left == pytest.approx(5 + 3 * 2 / 3)
        coordinator.closed("pack")
        assert coordinator.n_left == 8
    finally:
        recorder.close()
        studies.close()
