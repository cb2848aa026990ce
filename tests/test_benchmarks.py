"""What the benchmarks compute: a measure that is wrong is worse than none."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
import torchvision.transforms as T
import torchvision.transforms.functional as TF
from PIL import Image
from scipy import stats

from benchmarks import accuracy, curves, finalists, seed_effects, verdict
from benchmarks.__main__ import Measured, Row, idle_table, training_table
from benchmarks.ceiling import operations
from benchmarks.processes import memory_bytes, timed
from benchmarks.simulated_sweeps import Arm, contrasts, decide, draw, in_units
from sweeper.report import statistics


def test_the_plain_loop_sees_the_pixels_that_torchvision_makes():
    images = torch.randint(0, 256, (5, 32, 32, 3), dtype=torch.uint8)
    framed = torch.nn.functional.pad(images.permute(0, 3, 1, 2), (4, 4, 4, 4)).flatten(2)
    torch.manual_seed(3)
    ours = accuracy.normalised(accuracy.augmented(framed, torch.arange(5)))
    torch.manual_seed(3)
    rows, columns, flips = torch.randint(0, 9, (5, 1)), torch.randint(0, 9, (5, 1)), torch.rand(5, 1) < 0.5
    assert len(set(flips.flatten().tolist())) == 2
    normalise = T.Normalize((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
    for index, image in enumerate(images):
        cropped = TF.crop(TF.pad(Image.fromarray(image.numpy()), 4), int(rows[index]), int(columns[index]), 32, 32)
        theirs = normalise(TF.to_tensor(TF.hflip(cropped) if flips[index] else cropped))
        assert torch.equal(ours[index], theirs)


def test_the_paired_difference_and_its_test_are_scipys():
    rng = np.random.default_rng(1)
    first, second = rng.normal(55, 1, 12), rng.normal(55, 1, 12)
    mean, error, freedom = accuracy.paired(first - second)
    theirs = stats.ttest_rel(first, second)
    assert mean / error == pytest.approx(theirs.statistic)
    low, high = theirs.confidence_interval(0.95)
    p = max(
        stats.ttest_rel(first + accuracy.MARGIN, second, alternative="greater").pvalue,
        stats.ttest_rel(first - accuracy.MARGIN, second, alternative="less").pvalue,
    )
    assert accuracy.difference("x", mean, error, freedom) == f"| x | {mean:+.2f} | [{low:+.2f}, {high:+.2f}] | {p:.2g} |"


def test_the_unpaired_difference_is_welchs():
    rng = np.random.default_rng(2)
    first, second = rng.normal(55, 1, 9), rng.normal(54, 3, 9)
    mean, error, freedom = accuracy.unpaired(first, second)
    theirs = stats.ttest_ind(first, second, equal_var=False)
    assert (mean / error, freedom) == (pytest.approx(theirs.statistic), pytest.approx(theirs.df))


def test_an_accuracy_run_that_was_stopped_goes_on_where_it_was(tmp_path, monkeypatch, capsys):
    runs = [
        {"side": side, "seed": seed, "learning_rate": 0.1, "accuracy": 0.5 + seed / step}
        for seed in (1, 2)
        for side, step in (("ours", 100), ("plain", 50))
    ]
    path = tmp_path / "runs.jsonl"
    accuracy.write(path, [*runs[:-1], {**runs[-1], "learning_rate": 0.2}])
    monkeypatch.setattr(accuracy, "plain", lambda dataset, seed, learning_rate: 0.5 + seed / 50)
    monkeypatch.setattr(accuracy, "ours", None)  # all of its seeds are there
    monkeypatch.setattr(accuracy, "load_dataset", lambda *source: None)
    monkeypatch.setattr(sys, "argv", ["accuracy", "--seeds", "2", "--file", str(path)])
    accuracy.main()
    last = accuracy.read(path)[-1]
    assert {name: last[name] for name in runs[-1]} == runs[-1]
    assert "| ours | 2 | 51.50 | 0.71 |" in capsys.readouterr().out


def test_a_trial_epoch_holds_the_operations_of_the_convnet():
    conv1, conv2, linear = 2 * 30 * 30 * 4 * 27, 2 * 13 * 13 * 8 * 36, 2 * (288 * 32 + 32 * 10)
    forward = conv1 + conv2 + linear
    backward = conv1 + 2 * conv2 + 2 * linear  # nobody asks for the gradient of the images
    assert operations(10, 3) == 10 * (forward + backward) + 3 * forward


def test_a_command_is_timed_with_the_memory_of_its_children(tmp_path, monkeypatch):
    (tmp_path / "hungry.py").write_text(
        "import subprocess, sys\n"
        "child = 'import time; x = b\"1\" * 200_000_000; time.sleep(1.5)'\n"
        "subprocess.run([sys.executable, '-c', child], check=True)\n"
        "print('fed')\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    done = timed(["hungry"])
    assert done.output == "fed\n"
    assert done.seconds > 1.5
    if sys.platform == "linux":
        assert 200_000_000 < done.peak_memory_bytes < 400_000_000


def test_a_command_that_fails_says_what_it_said():
    with pytest.raises(RuntimeError, match="No module named"):
        timed(["no_such_module"])


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_process_that_is_gone_has_no_memory():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert memory_bytes(process.pid) == 0


def row(name, trials, *seconds):
    return Row(name, trials, lambda: None, [Measured(2 * second, second, 1_000_000) for second in seconds])


def test_ratios_are_those_of_the_medians_per_trial_epoch():
    rows = [row("notebook", 1, 10.0, 12.0, 11.0), row("stock_tune", 2, 40.0), row("sweep run --pack 1", 4, 4.0)]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in training_table(rows, 2, 10**9, 1e9)[2:]]
    assert [line[2] for line in cells] == ["5.500 (5.000 – 6.000)", "10.000 (10.000 – 10.000)", "0.500 (0.500 – 0.500)"]
    assert [line[3] for line in cells] == ["1.0", "0.6", "11.0"]
    assert [line[4] for line in cells] == ["1.8", "1.0", "20.0"]
    assert [line[6] for line in cells] == ["164", "90", "1800"]
    assert cells[2][8] == "200.0%"


def test_our_sweeps_are_compared_with_the_fastest_of_as_many_trials():
    rows = [
        row("stock_tune", 4, 1.0),
        row("sweep run --pack 1", 2, 2.0),
        row("sweep run --pack 8", 4, 4.0),
        row("sweep run --pack auto", 4, 5.0),
    ]
    cells = [line.split("|")[-2].strip() for line in training_table(rows, 2, 10**9, 1e9)[2:]]
    assert cells == ["–", "1.00", "1.00", "1.25"]


def test_overhead_is_what_a_trial_more_costs():
    pairs = [(row("stock_tune", 2, 10.0), row("stock_tune", 8, 19.0)), (row("ours", 2, 5.0), row("ours", 98, 7.4))]
    lines = idle_table(pairs)
    assert [line.split("|")[4].strip() for line in lines[2:]] == ["3.000", "0.050"]
    assert [line.split("|")[5].strip() for line in lines[2:]] == ["1", "60"]


def interval(events):
    """The exact 95 % interval of a rate."""
    return stats.binomtest(int(events.sum()), len(events)).proportion_ci()


NO_ARM_AHEAD = {**verdict.ALIKE, **verdict.UNLIKE}


@pytest.mark.parametrize("arms", NO_ARM_AHEAD.values(), ids=NO_ARM_AHEAD)
def test_where_no_arm_is_ahead_a_winner_is_called_in_one_of_twenty_sweeps_at_most(arms):
    called = verdict.verdicts(np.random.default_rng(1), arms, 4_000).winner()
    assert called.mean() <= 0.055
    assert interval(called).high <= 0.06


@pytest.mark.parametrize("n_searches", [4, 6, 7])
@pytest.mark.parametrize("n_seeds", [1, 4])
def test_so_it_is_with_other_numbers_of_searches_and_seeds(n_searches, n_seeds):
    assert interval(verdict.verdicts(np.random.default_rng(2), [Arm(), Arm()], 4_000, n_searches, n_seeds).winner()).high <= 0.06


@pytest.mark.parametrize(("n_searches", "n_seeds"), [(2, 4), (3, 4)])
def test_seeds_pooled_over_searches_would_call_far_too_many(n_searches, n_seeds):
    runs = draw(np.random.default_rng(3), [Arm(pick_sd=0.5)] * 2, 1_000, n_searches, n_seeds)
    assert interval(verdict.pooled(runs).winner()).low > 0.15


def test_the_seeds_of_one_search_each_call_a_winner_between_two_searches_of_one_arm():
    assert interval(verdict.verdicts(np.random.default_rng(4), [Arm(), Arm()], 2_000, 1, 8).winner()).low > 0.2


def test_a_permutation_alone_would_call_too_many_where_one_arm_does_not_vary_or_searches_find_the_same():
    found = verdict.verdicts(np.random.default_rng(5), verdict.UNLIKE["one arm does not vary at all"], 4_000)
    assert interval(found.winner("permutation alone")).low > 0.1
    again = verdict.verdicts(np.random.default_rng(5), verdict.UNLIKE["searches pick from the same 3 configurations"], 4_000)
    assert interval(again.winner("permutation alone")).low > 0.1


def test_five_searches_on_two_seeds_find_a_lead_of_one_point_in_four_of_five_sweeps():
    found = verdict.verdicts(np.random.default_rng(6), [Arm(1.0), Arm()], 10_000)
    assert interval(found.winner() & (found.order[:, 0] == 0)).low >= 0.8


@pytest.mark.parametrize("arms", verdict.APART.values(), ids=verdict.APART)
@pytest.mark.parametrize("n_searches", [3, 5])
def test_arms_that_differ_by_the_margin_are_called_equal_in_one_of_twenty_sweeps_at_most(arms, n_searches):
    wrong = verdict.verdicts(np.random.default_rng(7), arms, 4_000, n_searches).wrongly_equal([arm.mean for arm in arms])
    assert interval(wrong).low <= 0.05


@pytest.mark.parametrize("n_arms", [2, 5])
@pytest.mark.parametrize("n_searches", [2, 5])
def test_no_arm_is_behind_where_all_are_alike_but_in_one_of_twenty_sweeps(n_arms, n_searches):
    assert interval(verdict.verdicts(np.random.default_rng(8), [Arm()] * n_arms, 4_000, n_searches).behind()).high <= 0.06


@pytest.mark.parametrize("n_searches", [2, 3, 5])
@pytest.mark.parametrize("arms", [[Arm(), Arm()], *[arms for arms in verdict.UNLIKE.values() if len(arms) == 2]])
def test_the_interval_of_a_difference_holds_it_in_95_percent_of_sweeps_and_in_90(n_searches, arms):
    _, figures = in_units(draw(np.random.default_rng(9), arms, 4_000, n_searches, 2))
    found = contrasts("search", figures[:, 0], figures[:, 1])
    assert interval(found.holds_zero).high >= 0.95
    assert interval(~((found.equal_low > 0) | (found.equal_high < 0))).high >= 0.90


def test_the_simulation_notices_where_sweeper_decides_otherwise(monkeypatch):
    figures = in_units(draw(np.random.default_rng(10), [Arm(0.5), Arm()], 50, 5, 2))
    decide(*figures)
    monkeypatch.setattr(statistics, "SIGNIFICANCE", 0.10)
    with pytest.raises(AssertionError):
        decide(*figures)


def test_the_pick_among_finalists_is_the_best_of_all_measurements_and_a_lone_one_is_not_trained_again():
    bank = finalists.Bank(
        gap=np.array([[9.0, 1.0, 20.0], [9.0, 1.0, 20.0]]),
        value=np.array([[-0.5, -0.8, -np.inf], [-0.5, -np.inf, -np.inf]]),  # the worse of two was luckier
        epochs=np.array([[15.0, 15.0, 2.0], [15.0, 6.0, 2.0]]),
    )
    by_one_value = finalists.picks(np.random.default_rng(1), bank, finalists.Design(1, 2, 3))
    assert (by_one_value.gap.tolist(), by_one_value.epochs.tolist()) == ([9.0, 9.0], [32.0, 23.0])
    measured_again = finalists.picks(np.random.default_rng(1), bank, finalists.Design(1, 2, 3, finalists=3, validation_seeds=2))
    assert (measured_again.gap.tolist(), measured_again.epochs.tolist()) == ([1.0, 9.0], [32.0 + 4 * 15, 23.0])
    too_far = finalists.picks(np.random.default_rng(1), bank, finalists.Design(1, 2, 3, finalists=3, validation_seeds=2, window=0.2))
    assert (too_far.gap.tolist(), too_far.epochs.tolist()) == ([9.0, 9.0], [32.0, 23.0])


def test_a_curve_follows_the_best_trial_so_far_and_a_lead_must_last_to_the_end():
    bank = finalists.Bank(gap=np.zeros((1, 4)), value=np.array([[-3.0, -np.inf, -1.0, -2.0]]), epochs=np.array([[15.0, 2.0, 15.0, 15.0]]))
    assert curves.picks(bank).tolist() == [[0, 0, 2, 2]]
    second = np.array([[[0.0], [0.1], [0.2], [0.3], [0.4]]]).repeat(4, axis=-1)  # one sweep, five searches, four trials
    first = second + np.array([5.0, 0.0, 5.0, 5.0])  # ahead after one trial too, but not after two
    assert curves.leads(np.stack([first, second])).tolist() == [[False, False, True, True]]


@pytest.mark.parametrize("own", [0.0, 0.3])
def test_what_a_seed_does_to_one_arm_alone_is_told_from_what_it_does_to_all(own):
    arm = Arm(pick_sd=0.4, run_sd=0.5, seed_sd=own)
    sweeps = draw(np.random.default_rng(1), [replace(arm, mean=1.0), arm], 400, 5, 16, shared_sd=0.7)
    found = [seed_effects.effects(sweep) for sweep in sweeps]
    for name, truth in {"picks": 0.4, "shared": 0.7, "own": own, "rest": 0.5}.items():
        assert np.mean([getattr(each, name) ** 2 for each in found]) == pytest.approx(truth**2, abs=0.02)
    assert np.mean([each.own_high >= own for each in found]) > 0.95
    told = np.mean([each.p_value <= 0.05 for each in found])
    power = stats.f.sf(stats.f.ppf(0.95, 15, 120) / (1 + 5 * own**2 / 0.5**2), 15, 120)
    assert told == pytest.approx(power, abs=0.05)
