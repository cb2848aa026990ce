"""A sweep that dies at any effect on the disk, before it, in the middle of it or after it, and is resumed, loses and doubles nothing."""

import pytest

from sweeper.driver import recorder as recorder_module
from sweeper.space import parse_space

from .invariants import check_equal, check_sweep, plain_studies, tables
from .simulation import Crash, Disk, new_sweep, run_sweep

SPACE = """
name: faults
dataset: {{name: synthetic}}
training: {{epochs: 3}}
parameters:
  loss: {{choices: [l1, cross_entropy]}}
  learning_rate: {{low: 1e-3, high: 1.0, log: true}}
compare: {{arms: loss, searches: 2, trials_per_arm: 2, seeds: 2}}
search: {{sampler: {sampler}, pruner: {pruner}}}
resources: {{max_failures: {max_failures}}}
seed: 3
"""
STRIDE = 71
"""Every so many effects on the disk a sweep dies in the plain suite; the slow one tries them all."""
HALVING = "{name: successive_halving, min_resource: 1, reduction_factor: 2}"


def space_with(sampler="random", pruner="none", max_failures=2):
    return parse_space(SPACE.format(sampler=sampler, pruner=pruner, max_failures=max_failures), "space.yaml")


@pytest.fixture
def disk(monkeypatch):
    monkeypatch.setattr(recorder_module, "FLUSH_SECONDS", -1.0)  # Parquet with every decision: the most places to die in
    return Disk(monkeypatch)


def sweep_dying_at(disk, path, space, point, how, **options):
    """A sweep that died at effect ``point`` and was resumed; ``False`` if it ended before."""
    folder = new_sweep(path, space)
    disk.n_effects, disk.die_at, disk.die_how = 0, point, how
    try:
        run_sweep(folder, space, **options)
    except Crash:
        disk.die_at = None
        run_sweep(folder, space, **options)
        return True
    return False


def n_effects(disk, path, space, **options):
    new = new_sweep(path, space)
    disk.n_effects = 0
    run_sweep(new, space, **options)
    return disk.n_effects


def points(disk, tmp_path, space, stride, **options):
    total = n_effects(disk, tmp_path / "reference", space, **options)
    return [(point, how) for point in range(1, total + 1, stride) for how in ("before", "torn", "after")]


@pytest.mark.parametrize(("sampler", "pruner"), [("random", "none"), ("tpe", HALVING), ("cmaes", "hyperband")])
def test_one_pack_at_a_time_finds_bit_by_bit_what_it_would_have_found_uninterrupted(disk, tmp_path, sampler, pruner):
    space = space_with(sampler, pruner)
    for point, how in points(disk, tmp_path, space, stride=STRIDE):
        path = tmp_path / f"{point}-{how}"
        assert sweep_dying_at(disk, path, space, point, how)
        check_sweep(path)
        check_equal(path, tmp_path / "reference")


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("sampler", "pruner", "stride"),
    [
        ("random", "none", 1),
        ("tpe", HALVING, 1),
        ("cmaes", HALVING, 5),
        ("{name: grid, points: 4}", "median", 5),
        ("gp", "{name: percentile, percentile: 50}", 5),
        ("qmc", "median", 5),
    ],
)
def test_every_crash_point_of_one_pack_at_a_time(disk, tmp_path, sampler, pruner, stride):
    space = space_with(sampler, pruner)
    for point, how in points(disk, tmp_path, space, stride=stride):
        path = tmp_path / f"{point}-{how}"
        assert sweep_dying_at(disk, path, space, point, how)
        check_sweep(path)
        check_equal(path, tmp_path / "reference")


def test_packs_side_by_side_lose_and_double_nothing_and_a_random_sampler_without_pruner_finds_the_same(disk, tmp_path):
    space = space_with()
    for point, how in points(disk, tmp_path, space, stride=STRIDE, n_packs=2, size=3):
        path = tmp_path / f"{point}-{how}"
        assert sweep_dying_at(disk, path, space, point, how, n_packs=2, size=3)
        check_sweep(path)
        check_equal(path, tmp_path / "reference")


def test_packs_side_by_side_under_a_pruner_lose_and_double_nothing(disk, tmp_path):
    """Which trials are pruned depends on the order in which results arrive, interrupted or not; configurations and curves do not."""
    space = space_with("random", HALVING)
    reference = None
    for point, how in points(disk, tmp_path, space, stride=STRIDE, n_packs=2, size=2):
        path = tmp_path / f"{point}-{how}"
        assert sweep_dying_at(disk, path, space, point, how, n_packs=2, size=2)
        check_sweep(path)
        reference = reference or {name: [t.params for t in study.trials] for name, study in plain_studies(tmp_path / "reference").items()}
        found = {name: [t.params for t in study.trials] for name, study in plain_studies(path).items()}
        assert {arm: found[arm] for arm in ("l1", "cross_entropy")} == {arm: reference[arm] for arm in ("l1", "cross_entropy")}


def test_failing_trials_are_tried_as_often_as_allowed_whatever_dies(disk, tmp_path):
    space = space_with(max_failures=1)

    def fails(config, epoch):
        return config.number == 1 and epoch == 2

    for point, how in points(disk, tmp_path, space, stride=STRIDE, fails=fails):
        path = tmp_path / f"{point}-{how}"
        assert sweep_dying_at(disk, path, space, point, how, fails=fails)
        check_sweep(path)
        check_equal(path, tmp_path / "reference")
    trials, _ = tables(tmp_path / "reference")
    assert trials[trials["state"] == "failed"][["number", "attempts", "epochs"]].values.tolist() == [[1, 2, 1]] * 8


def test_dying_again_and_again_changes_nothing(disk, tmp_path):
    space = space_with("tpe", HALVING)
    n_effects(disk, tmp_path / "reference", space)
    folder = new_sweep(tmp_path / "often", space)
    for _ in range(300):
        # the eighth is the first that the next start can build on: a checkpoint is written when its epoch has been recorded
        disk.n_effects, disk.die_at, disk.die_how = 0, 8, "torn"
        try:
            run_sweep(folder, space)
        except Crash:
            disk.die_at = None
            continue
        break
    check_sweep(tmp_path / "often")
    check_equal(tmp_path / "often", tmp_path / "reference")


def test_failed_trials_are_repeated_on_request_with_the_same_parameters_and_seed_on_top_of_the_budget(disk, tmp_path):
    space = space_with(max_failures=0)
    folder = new_sweep(tmp_path / "sweep", space)
    assert run_sweep(folder, space, fails=lambda config, epoch: config.number == 1) == 8
    assert run_sweep(folder, space) == 8  # without the request nothing changes
    check_sweep(tmp_path / "sweep")
    assert run_sweep(folder, space, retry_failed=True) == 0
    check_sweep(tmp_path / "sweep", n_retried=8)
    for study in plain_studies(tmp_path / "sweep").values():
        (retried,) = [trial for trial in study.trials if "retry_of" in trial.user_attrs]
        assert retried.params == study.trials[1].params
        assert retried.user_attrs["seed"] == study.trials[1].user_attrs["seed"]
    assert run_sweep(folder, space, retry_failed=True) == 0  # nothing is left to repeat
    check_sweep(tmp_path / "sweep", n_retried=8)
