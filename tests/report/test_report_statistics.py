"""The statistics against scipy, against formulas written out here, and against chance."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sweeper.report import statistics as ours

FOCAL = np.array([0.580, 0.590, 0.584, 0.579, 0.583, 0.588, 0.581, 0.582])
ENTROPY = np.array([0.570, 0.571, 0.585, 0.569, 0.573, 0.592, 0.570, 0.574])


def p_by_hand(differences):
    """Every one of the 2^n ways to flip signs, one by one."""
    observed = abs(math.fsum(differences))
    flips = list(itertools.product([1, -1], repeat=len(differences)))
    as_large = [abs(math.fsum(sign * each for sign, each in zip(signs, differences, strict=True))) >= observed - 1e-12 for signs in flips]
    return sum(as_large) / len(flips)


def test_the_permutation_p_counts_sign_flips():
    differences = FOCAL - ENTROPY
    assert ours.sign_flip_p(differences) == p_by_hand(differences) == 8 / 256  # no flip, of 1, of 4, of both; and all of them reversed


def test_the_permutation_p_is_scipys():
    differences = FOCAL - ENTROPY
    expected = stats.permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=np.inf, vectorized=True)
    assert ours.sign_flip_p(differences) == pytest.approx(expected.pvalue)


def test_eight_wins_of_eight_give_the_smallest_p_there_is():
    assert ours.sign_flip_p(np.array([0.01, 0.02, 0.03, 0.01, 0.02, 0.03, 0.04, 0.01])) == 2 / 2**8


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(-30, 30).map(lambda points: points / 1000), min_size=2, max_size=8))
def test_the_permutation_p_is_exact_whatever_ties_and_zeros(differences):
    expected = 1.0 if not any(differences) else p_by_hand(differences)
    assert ours.sign_flip_p(np.array(differences)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("differences", [[], [0.1], [0.0, 0.0, 0.0]])
def test_nothing_to_test_gives_p_one(differences):
    assert ours.sign_flip_p(np.array(differences)) == 1.0


def test_many_seeds_are_flipped_at_random_and_always_alike():
    differences = np.random.default_rng(3).normal(0.3, 1, 40)
    p = ours.sign_flip_p(differences)
    assert p == ours.sign_flip_p(differences)
    assert p == pytest.approx(stats.ttest_1samp(differences, 0).pvalue, abs=0.02)


def test_holm_multiplies_the_smallest_p_most_and_never_falls():
    assert ours.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert ours.holm([0.5, 0.9]) == [1.0, 1.0]
    assert ours.holm([]) == []


@pytest.mark.parametrize("n", [2, 3, 5, 8])
def test_an_interval_is_students_t(n):
    found = ours.estimate(FOCAL[:n])
    expected = stats.t.interval(0.95, n - 1, FOCAL[:n].mean(), stats.sem(FOCAL[:n]))
    assert (found.n, found.mean) == (n, pytest.approx(FOCAL[:n].mean()))
    assert found.sd == pytest.approx(stats.tstd(FOCAL[:n]))
    assert (found.low, found.high) == pytest.approx(expected, abs=1e-12)


def test_an_interval_ends_at_the_least_and_the_largest_possible_value():
    wide = np.array([0.99, 0.5, 0.98])
    assert ours.estimate(wide).high > 1
    cut = ours.estimate(wide, 0.0, 1.0)
    assert (cut.low, cut.high) == (ours.estimate(wide).low, 1.0)
    assert (cut.mean, cut.sd) == (ours.estimate(wide).mean, ours.estimate(wide).sd)


@pytest.mark.parametrize("n", range(2, 9))
def test_what_is_called_a_95_percent_interval_holds_the_mean_in_95_percent_of_sweeps_however_few_the_seeds(n):
    found = [ours.estimate(values) for values in np.random.default_rng(2).normal(size=(2_000, n))]
    n_held = sum(each.low <= 0 <= each.high for each in found)
    assert stats.binomtest(n_held, 2_000, 0.95).pvalue > 0.001


def test_one_seed_has_no_interval_and_equal_seeds_have_one_of_no_width():
    one, equal = ours.estimate(np.array([0.5])), ours.estimate(np.array([0.1, 0.1, 0.1]))
    assert (one.mean, one.sd, one.low, one.high) == (0.5, None, None, None)
    assert (equal.sd, equal.low, equal.high) == (0.0, pytest.approx(0.1), pytest.approx(0.1))


def test_differences_that_vary_by_rounding_only_have_no_spread():
    values = np.array([0.50, 0.51, 0.60, 0.52, 0.49, 0.30, 0.21, 0.13])
    lead = (values + 0.02) - values
    assert np.ptp(lead) > 0
    found = ours.estimate(lead)
    assert (found.sd, found.low, found.high) == (0.0, found.mean, found.mean)
    assert ours.cohens_d_z(lead) is None
    assert ours.paired_t_p(lead) == 1.0


def test_differences_are_over_the_seeds_that_both_arms_have():
    assert ours.paired_differences({3: 0.5, 1: 0.25, 7: 0.1}, {1: 0.125, 3: 0.25, 9: 0.2}).tolist() == [0.125, 0.25]


@pytest.mark.parametrize(
    ("samples", "order"),
    [
        ({"a": {1: 0.1, 2: 0.3}, "b": {1: 0.2, 2: 0.4}}, ["b", "a"]),
        ({"a": {1: 0.1, 2: 0.9}, "b": {1: 0.2}}, ["b", "a"]),  # a has the higher mean, by a seed that b has not
        ({"a": {1: 0.1}, "b": {2: 0.2}}, ["b", "a"]),  # no seed in common
        ({"a": {1: 0.1, 2: 0.1}, "b": {1: 0.2, 3: 0.2}, "c": {2: 0.05, 3: 0.3}}, ["b", "c", "a"]),  # round in a circle: the highest mean
        ({"a": {1: 0.1}, "b": {1: 0.1}}, ["a", "b"]),
        ({}, []),
    ],
)
def test_arms_are_ranked_on_the_seeds_that_they_share(samples, order):
    assert ours.ranked(samples) == order


@pytest.mark.parametrize("n_seeds", [2, 3, 5, 8])
def test_an_arm_is_clearly_behind_where_no_seed_could_make_up_for_it(n_seeds):
    far, near = np.array([0.38, 0.39, 0.37, 0.385, 0.39, 0.38, 0.39, 0.37])[:n_seeds], np.array([0.01, -0.01, 0.02, 0.0] * 2)[:n_seeds]
    holm = 2 / 2**n_seeds * 3
    assert ours.is_clearly_behind(far, holm, 3)
    assert not ours.is_clearly_behind(near, 1.0, 3)
    assert not ours.is_clearly_behind(-far, holm, 3)


def test_a_tie_is_half_a_win():
    assert ours.probability_of_winning(np.array([0.1, 0.0, -0.1, 0.2])) == 0.625


def test_the_effect_size_is_the_mean_in_units_of_the_spread():
    differences = FOCAL - ENTROPY
    assert ours.cohens_d_z(differences) == pytest.approx(differences.mean() / stats.tstd(differences))
    assert ours.cohens_d_z(np.array([0.1, 0.1])) is None


def test_six_seeds_are_the_fewest_that_can_tell_two_arms_apart():
    assert ours.sign_flip_p(np.full(ours.NEEDED_SEEDS, 0.01)) <= 0.05 < ours.sign_flip_p(np.full(ours.NEEDED_SEEDS - 1, 0.01))


def test_the_interval_of_a_spread_holds_the_true_one_in_95_percent_of_sweeps():
    samples = np.random.default_rng(4).normal(0, 2.0, (2_000, 8)).std(axis=1, ddof=1)
    intervals = [ours.sd_interval(float(sd), 8) for sd in samples]
    assert stats.binomtest(sum(low <= 2.0 <= high for low, high in intervals), 2_000, 0.95).pvalue > 0.001


def test_power_is_what_simulation_finds():
    rng = np.random.default_rng(5)
    found = [ours.sign_flip_p(rng.normal(1.0, 1.0, 8)) <= 0.05 for _ in range(600)]
    assert np.mean(found) == pytest.approx(ours.power(1.0, 1.0, n_seeds=8), abs=0.05)


def test_power_is_nothing_where_seeds_are_too_few_and_sure_where_nothing_varies():
    assert ours.power(0.02, 0.001, n_seeds=5) == 0.0
    assert ours.power(0.02, 0.0, n_seeds=8) == 1.0
    assert ours.power(0.0, 0.0, n_seeds=8) == 0.0


@pytest.mark.parametrize("noise", ["normal", "heavy", "skewed"])
def test_between_two_equal_arms_a_difference_is_found_in_at_most_one_of_twenty_sweeps(noise):
    rng = np.random.default_rng(11)
    draw = {"normal": rng.normal, "heavy": lambda size: rng.standard_t(2, size), "skewed": lambda size: -rng.lognormal(size=size)}[noise]
    n_found = sum(ours.sign_flip_p(draw(size=8) - draw(size=8)) <= 0.05 for _ in range(800))
    assert stats.binomtest(n_found, 800, 0.05, alternative="greater").pvalue > 0.01
