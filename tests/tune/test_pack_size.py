"""What ``pack: auto`` chooses, and that packs change nothing but the time."""

import math

import numpy as np
import pytest
import torch
from faults.invariants import check_equal, check_sweep, tables
from finished_sweep import sweep
from space.spaces import base, space_of

from sweeper.data import load_dataset, split
from sweeper.data.dataset import make_dataset
from sweeper.errors import DataError
from sweeper.records import Phase, TrainingSettings, TrialConfig
from sweeper.training.build_model import most_weights
from sweeper.training.engine import Pack
from sweeper.tune.pack_size import (
    LARGEST_MEASURED,
    PackSize,
    choose_pack_size,
    fastest_epoch,
    fitting_size,
    gaining_size,
    largest_useful,
    piece_of,
    size_on_gpu,
)

PARAMETERS = {"loss": "l1", "learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.0, "step_size": 1, "step_gamma": 1.0}
MEMBER = TrialConfig("l1", Phase.SEARCH, 0, 1, PARAMETERS | {"batch_size": 128})
LEARNS_NOTHING = {"sampler": "random", "pruner": "none"}
MIB = 2**20


def tuned(arms=3, searches=5, trials=32, search=None, **resources):
    """A space of so many arms, each with so many searches of so many trials."""
    losses = ["l1", "cross_entropy", "mse"][:arms]
    compare = {"arms": "loss", "searches": searches, "trials_per_arm": trials}
    parameters = {"loss": {"choices": losses}, "learning_rate": {"low": 0.01, "high": 1.0}}
    return space_of(base(parameters=parameters, compare=compare, search=search or {}, resources=resources))


def nothing_is_timed(*arguments):
    raise AssertionError("nothing may be timed here")


@pytest.mark.parametrize(
    ("space", "n_trials", "n_packs", "size"),
    [
        (tuned(), 480, 2, 8),
        (tuned(), 480, 2_000, 1),
        (tuned(), 480, 64, 2),  # eight of each search in training at a time
        (tuned(trials=6), 90, 2, 8),
        (tuned(trials=6), 90, 8, 4),
        (tuned(), 10, 2, 5),  # what is left after a resume
        (tuned(), 0, 2, 1),
        (tuned(), 480, 0, 8),
        (tuned(arms=1, searches=1), 32, 2, 4),
        (tuned(arms=1, searches=1, search=LEARNS_NOTHING), 32, 2, 8),
        (tuned(arms=1, searches=1, search=LEARNS_NOTHING), 6, 2, 3),
    ],
)
def test_on_a_cpu_packs_have_eight_members_without_timing_and_fewer_where_cores_or_searches_want_them(space, n_trials, n_packs, size):
    assert choose_pack_size(space, n_trials, n_packs, "cpu", nothing_is_timed) == PackSize(size, even=True)


@pytest.mark.parametrize(("n_weights", "size"), [(9_986, 8), (2_000_000, 8), (4_200_000, 3), (11_181_642, 1), (10**9, 1)])
def test_on_a_cpu_packs_of_large_networks_are_small(n_weights, size):
    assert choose_pack_size(tuned(), 480, 2, "cpu", nothing_is_timed, n_weights) == PackSize(size, even=True)


@pytest.mark.parametrize(
    ("described", "n_weights"),
    [
        ({"name": "convnet", "weights": 9_986}, 9_986),
        ([{"name": "convnet", "weights": 9_986}, {"name": "my:Net", "weights": 12_000}], 12_000),
        ({"loop": "my:train"}, 0),
        ("convnet", 0),
        (None, 0),
        ([], 0),
    ],
)
def test_the_largest_model_counts_and_what_is_not_described_does_not(described, n_weights):
    assert most_weights(described) == n_weights


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_number_in_the_space_is_taken_as_it_is(device):
    assert choose_pack_size(tuned(pack=100), 480, 2, device, nothing_is_timed) == PackSize(100)


def test_on_a_gpu_the_size_is_found_there_for_the_trials_of_one_device():
    asked = []
    size = choose_pack_size(tuned(), 480, 2, "cuda", lambda *arguments: asked.append(arguments) or 24)
    assert size == PackSize(24, even=True)
    ((members, n_trials, most),) = asked
    assert [member.parameters["loss"] for member in members] == ["l1", "cross_entropy", "mse"]
    assert (n_trials, most) == (240, 60)


@pytest.mark.parametrize(
    ("options", "n_trials", "n_packs", "most"),
    [
        ({}, 480, 1, 120),  # each search a quarter of its 32 trials
        ({}, 480, 4, 30),
        ({"trials": 6}, 90, 1, 30),
        ({"trials": 1}, 15, 1, 15),  # where a search has one trial there is nothing to learn from it
        ({"trials": 4, "arms": 1, "searches": 1}, 4, 1, 1),
        ({"trials": 4, "arms": 1, "searches": 1, "search": LEARNS_NOTHING}, 4, 1, 4),
        ({"search": {"sampler": "random", "pruner": "median"}}, 480, 1, 120),
        ({"search": {"sampler": "tpe", "pruner": "none"}}, 480, 1, 120),
        ({"search": {"sampler": {"name": "grid", "points": 32}, "pruner": "none"}}, 480, 1, 480),
        ({"search": {"sampler": "qmc", "pruner": "none"}}, 480, 2, 240),
    ],
)
def test_a_search_that_learns_is_asked_in_four_waves_at_least(options, n_trials, n_packs, most):
    assert largest_useful(tuned(**options), n_trials, n_packs) == most


@pytest.mark.parametrize(
    ("beside", "each", "usable", "most", "size"),
    [
        (200, 40, 80_000, 120, 120),
        (200, 40, 2_000, 120, 35),  # (1,600 - 200) / 40
        (200, 1, 1_000, 10_000, 600),
        (200, 40, 100, 120, 1),
        (200, 0, 1_000, 120, 120),
        (200, 40, 80_000, 1, 1),
        (200, 40, 80_000, 3, 3),
    ],
)
def test_as_many_members_fit_as_leave_a_fifth_of_the_memory_free(beside, each, usable, most, size):
    assert fitting_size(lambda n: (beside + each * n) * MIB, usable * MIB, most) == size


def test_the_memory_of_two_packs_tells_that_of_all():
    measured = []
    assert fitting_size(lambda n: measured.append(n) or 100 * n, 8_000_000, 1_000) == 1_000
    assert measured == [LARGEST_MEASURED // 2, LARGEST_MEASURED]
    measured.clear()
    fitting_size(lambda n: measured.append(n) or 100 * n, 8_000_000, 12)
    assert measured == [1, 3]


@pytest.mark.parametrize(("fails_from", "size"), [(1, 1), (8, 1), (16, 8), (17, 100)])
def test_a_pack_that_does_not_fit_while_it_is_measured_leaves_the_size_before(fails_from, size):
    assert fitting_size(lambda n: math.inf if n >= fails_from else n, 10_000, 100) == size


def gaining(per_trial_epoch, most=64, trial_epochs=1_000_000):
    """The size chosen, and the sizes that were timed."""
    timed = []
    size = gaining_size(lambda n: timed.append(n) or n * per_trial_epoch[n], trial_epochs, most)
    return size, timed


@pytest.mark.parametrize(
    ("per_trial_epoch", "most", "size", "timed"),
    [
        ({1: 1.0, 2: 0.8, 4: 0.7, 8: 0.69}, 64, 4, [1, 2, 4, 8]),  # 1.4 % is within what two timings differ by
        ({1: 1.0, 2: 1.3}, 64, 1, [1, 2]),
        ({1: 1.0, 2: 0.98}, 64, 1, [1, 2]),
        ({1: 1.0, 2: 0.5, 4: math.inf}, 64, 2, [1, 2, 4]),
        ({1: math.inf, 2: math.inf}, 64, 1, [1, 2]),
        ({1: 1.0, 2: 0.5, 3: 0.4}, 3, 3, [1, 2, 3]),  # the most is tried too, whatever power of two is below it
        ({}, 1, 1, []),
    ],
)
def test_a_pack_is_doubled_while_a_trial_epoch_gains(per_trial_epoch, most, size, timed):
    assert gaining(per_trial_epoch, most) == (size, timed)


@pytest.mark.parametrize(
    ("trial_epochs", "size"),
    [
        (100_000, 64),
        (10_000, 16),  # a pack of 16: 2 % of the sweep are 12.5 s; five packs took 20 epochs of 1 s
        (100, 1),
    ],
)
def test_timing_ends_where_it_would_cost_more_than_a_fiftieth_of_the_sweep(trial_epochs, size):
    each = {2**power: 1 / 2**power for power in range(8)}  # the device is no slower with more
    assert gaining(each, 64, trial_epochs)[0] == size


def test_timing_may_take_a_second_of_the_shortest_sweep():
    each = {2**power: 0.01 / 2**power for power in range(8)}
    assert gaining(each, 64, trial_epochs=1)[0] == 64


def test_a_device_that_fails_is_no_error_of_the_sweep(monkeypatch):
    def fails(*arguments):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (10 * MIB, 20 * MIB))
    monkeypatch.setattr(torch.cuda, "empty_cache", fails)
    dataset = load_dataset("synthetic", train_images=100, test_images=20)
    assert size_on_gpu(1.0, dataset, TrainingSettings("convnet", 1, "batch", True, 20, "validation"), [MEMBER], 100, 25) == 1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_memory_of_a_large_pack_is_foretold_within_a_fifth():
    dataset = load_dataset("synthetic", train_images=12_000, test_images=1_000)
    settings = TrainingSettings("convnet", 1, "batch", augment=True, validation=5_000, evaluate_on="validation")

    def memory(size):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        members = [TrialConfig("l1", Phase.SEARCH, number, 1 + number, MEMBER.parameters) for number in range(size)]
        Pack(dataset, settings, members, "cuda").train_epoch()
        return torch.cuda.max_memory_allocated()

    usable = memory(96) / 0.8  # a fifth is left free: then 96 members fit
    assert fitting_size(memory, usable, 10_000) == pytest.approx(96, rel=0.2)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_trains_in_packs_of_a_size_that_it_finds_itself():
    dataset = load_dataset("synthetic", train_images=1_100, test_images=100)
    settings = TrainingSettings("convnet", 4, "batch", augment=True, validation=100, evaluate_on="validation")
    assert 8 <= size_on_gpu(1.0, dataset, settings, [MEMBER], 400, 100) <= 100


@pytest.mark.parametrize(
    ("n_left", "n_packs", "size"),
    [
        (96, 2, 8),
        (16, 2, 8),  # one pack each
        (15, 2, 8),
        (8 + 8, 2, 8),  # eight wait while the other pack has just begun
        (8 + 4.0, 2, 6),  # it is half-way: each has six to go
        (2 + 2, 2, 2),
        (3, 2, 2),
        (0.5, 2, 1),
        (0, 2, 1),
        (96, 1, 8),
        (96, 24, 4),
        (96, 0, 8),
        (8 + 40 * 0.1 + 40 * 0.1, 2, 8),
        (3 * 0.1 * 20, 2, 3),  # 6.000000000000001
    ],
)
def test_packs_chosen_by_us_leave_no_device_idle_at_the_end(n_left, n_packs, size):
    assert PackSize(8, even=True).of_next(n_left, n_packs) == size


@pytest.mark.parametrize("n_left", [1, 8, 100])
def test_a_size_that_was_asked_for_is_kept(n_left):
    assert PackSize(8).of_next(n_left, 2) == 8


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
        split(labels[:1024], 512, 0)
    piece = piece_of(dataset, settings, 1024)
    assert (len(piece.dataset.train_labels), len(piece.dataset.test_labels), piece.settings.validation) == (1024, 35, 512)
    assert piece.share == 1024 / 3000
    assert 0 < fastest_epoch(Pack(piece.dataset, piece.settings, [MEMBER])) < 60
