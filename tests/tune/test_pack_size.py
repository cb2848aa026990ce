"""What ``--pack auto`` chooses, and that packs change nothing but the time."""

import math

import numpy as np
import pytest
from faults.invariants import check_equal, check_sweep, tables
from finished_sweep import sweep

from sweeper.data import load_dataset, split
from sweeper.data.dataset import make_dataset
from sweeper.errors import DataError
from sweeper.records import Phase, TrainingSettings, TrialConfig
from sweeper.tune.pack_size import TIMED_IMAGES, PackSize, fastest_size, timed_size

PARAMETERS = {"loss": "l1", "learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.0, "step_size": 1, "step_gamma": 1.0}
MEMBER = TrialConfig("l1", Phase.SEARCH, 0, 1, PARAMETERS | {"batch_size": 128})


def choose(seconds, most=64, enough=lambda size: False, untimed=1):
    return fastest_size(seconds.__getitem__, most=most, enough=enough, untimed=untimed)


def test_a_pack_is_doubled_while_that_saves_time():
    assert choose({1: 1.0, 2: 0.8, 4: 0.7, 8: 0.69}) == 4


def test_a_pack_that_is_slower_than_one_trial_is_never_chosen():
    assert choose({1: 1.0, 2: 1.3}) == 1


def test_a_gain_within_the_noise_of_timing_is_none():
    assert choose({1: 1.0, 2: 0.98}) == 1


def test_a_pack_that_does_not_fit_into_memory_is_not_chosen():
    assert choose({1: 1.0, 2: 0.5, 4: math.inf}) == 2


def test_no_pack_is_larger_than_the_trials_that_there_are():
    assert choose({1: 1.0, 2: 0.5}, most=3) == 2


def test_timing_ends_when_it_has_cost_enough():
    assert choose({1: 1.0}, enough=lambda size: True) == 1


@pytest.mark.parametrize(("most", "size"), [(64, 4), (3, 3), (1, 1)])
def test_a_sweep_too_short_for_any_timing_takes_the_size_that_needs_none(most, size):
    assert choose({}, most=most, enough=lambda size: True, untimed=4) == size


def test_a_timing_that_ends_early_keeps_what_it_found_if_that_is_more():
    assert choose({1: 1.0, 2: 0.8, 4: 0.7, 8: 0.6}, enough=lambda size: size > 8, untimed=4) == 8


def test_a_timing_that_found_packs_slower_is_believed():
    assert choose({1: 1.0, 2: 1.1}, enough=lambda size: size > 2, untimed=4) == 1


@pytest.mark.one_by_one
@pytest.mark.parametrize(("n_trials", "size"), [(16, 4), (8, 2), (4, 1)])
def test_a_sweep_of_seconds_trains_in_packs_on_a_cpu_and_leaves_four_to_each_core(n_trials, size):
    dataset = load_dataset("synthetic", train_images=1100, test_images=100)
    settings = TrainingSettings("convnet", 1, "batch", augment=True, validation=100, evaluate_on="validation")
    assert timed_size(dataset, settings, "cpu", 1, [MEMBER], n_trials) == size


@pytest.mark.parametrize(
    ("n_waiting", "n_packs", "size"),
    [(96, 2, 8), (64, 2, 8), (63, 2, 8), (40, 2, 5), (12, 2, 2), (3, 2, 1), (0, 2, 1), (96, 1, 8), (96, 24, 1), (96, 0, 8)],
)
def test_packs_chosen_by_us_leave_no_device_idle_at_the_end(n_waiting, n_packs, size):
    assert PackSize(8, even=True).of_next(n_waiting, n_packs) == size


@pytest.mark.parametrize("n_waiting", [1, 8, 100])
def test_a_size_that_was_asked_for_is_kept(n_waiting):
    assert PackSize(8).of_next(n_waiting, 2) == 8


@pytest.mark.one_by_one
@pytest.mark.slow  # the plain suite holds it of a sweep that is killed on its way: tests/faults/test_real_sweep.py
@pytest.mark.parametrize(("pack", "largest"), [("4", 4), ("auto", None)])
def test_rows_are_the_same_bit_by_bit_with_packs_as_without(undisturbed, tmp_path, pack, largest):
    alone, _ = undisturbed
    done = sweep("run", alone.parents[1] / "space.yaml", "--pack", pack, "--results", tmp_path, timeout=400)
    assert done.returncode == 0, done.stderr
    (packed,) = tmp_path.iterdir()
    check_sweep(packed)
    check_equal(packed, alone)
    if largest:
        assert tables(packed)[0].groupby("pack").size().max() == largest


def test_a_data_set_of_many_classes_with_few_images_each_is_timed_too():
    generator = np.random.default_rng(0)
    labels = generator.permutation(3000) // 3
    images = generator.integers(0, 256, (3100, 32, 32, 3), dtype=np.uint8)
    classes = [str(number) for number in range(1000)]
    dataset = make_dataset("many", (images[:3000], labels), (images[3000:], np.arange(100)), classes, (0.5,) * 3, (0.25,) * 3)
    settings = TrainingSettings("convnet", 1, "batch", augment=True, validation=1500, evaluate_on="validation")
    with pytest.raises(DataError):  # of the first images of some classes none would be left to train with
        split(labels[:TIMED_IMAGES], TIMED_IMAGES // 2, 0)
    assert timed_size(dataset, settings, "cpu", 1, [MEMBER], 4) == 1
