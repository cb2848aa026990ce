"""The statistics against scipy, against formulas written out here, and against chance."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sweeper.report import statistics as ours
from sweeper.significance import NEEDED_SEARCHES, NEEDED_SEEDS

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
def test_an_arm_is_behind_where_no_seed_could_make_up_for_it(n_seeds):
    far, near = np.array([0.38, 0.39, 0.37, 0.385, 0.39, 0.38, 0.39, 0.37])[:n_seeds], np.array([0.01, -0.01, 0.02, 0.0] * 2)[:n_seeds]
    three = {**LOSSES, "n_arms": 3}
    assert ours.contrast_of_seeds(0.5 + far, np.full(n_seeds, 0.5), **three).behind
    assert not ours.contrast_of_seeds(0.5 + near, np.full(n_seeds, 0.5), **three).behind
    assert not ours.contrast_of_seeds(0.5 - far, np.full(n_seeds, 0.5), **three).behind


def test_a_tie_is_half_a_win():
    assert ours.probability_of_winning(np.array([0.1, 0.0, -0.1, 0.2])) == 0.625


def test_six_seeds_are_the_fewest_that_can_tell_two_arms_apart():
    assert ours.sign_flip_p(np.full(NEEDED_SEEDS, 0.01)) <= 0.05 < ours.sign_flip_p(np.full(NEEDED_SEEDS - 1, 0.01))


def test_the_interval_of_a_spread_holds_the_true_one_in_95_percent_of_sweeps():
    samples = np.random.default_rng(4).normal(0, 2.0, (2_000, 8)).std(axis=1, ddof=1)
    intervals = [ours.sd_interval(float(sd), 7) for sd in samples]
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


# Searches. Each figure is a search's: its mean over seeds.

LOSSES = {"maximize": True, "margin": 0.005, "least": 0.0, "most": 1.0, "n_arms": 2}
WELL = np.array([0.581, 0.574, 0.583, 0.579, 0.577])
WORSE = np.array([0.568, 0.552, 0.571, 0.560, 0.563])
UNEQUAL = [(WELL, WORSE), (WELL, WORSE[:4]), (WELL[:3], WORSE), (WELL, WORSE / 100 + 0.55)]


@pytest.mark.parametrize(("best", "rival"), UNEQUAL)
def test_the_interval_between_searches_is_welchs_and_the_p_that_of_scipys_permutation_test(best, rival):
    found = ours.contrast_of_searches(best, rival, **LOSSES)
    theirs = stats.ttest_ind(rival, best, equal_var=False)
    assert (found.unit, found.n_best, found.n_rival, found.difference.n) == ("search", len(best), len(rival), min(len(best), len(rival)))
    assert found.difference.mean == pytest.approx(rival.mean() - best.mean())
    assert (found.difference.low, found.difference.high) == pytest.approx(tuple(theirs.confidence_interval(0.95)))
    assert (found.equal_low, found.equal_high) == pytest.approx(tuple(theirs.confidence_interval(0.90)))
    permuted = stats.permutation_test(
        (best, rival),
        lambda one, other, axis: np.abs(one.mean(axis=axis) - other.mean(axis=axis)),
        n_resamples=np.inf,
        alternative="greater",
    )
    assert found.p_value == pytest.approx(permuted.pvalue)


def test_five_searches_that_are_all_better_have_the_smallest_p_and_are_better():
    found = ours.contrast_of_searches(WELL, WORSE, **LOSSES)
    assert (found.p_value, found.p_best_wins, found.outcome, found.behind) == (pytest.approx(2 / 252), 1.0, "better", True)


def test_less_is_better_where_the_measure_says_so():
    found = ours.contrast_of_searches(WORSE, WELL, **{**LOSSES, "maximize": False})
    assert (found.outcome, found.p_best_wins, found.behind) == ("better", 1.0, True)
    assert ours.contrast_of_searches(WORSE, WELL, **LOSSES).outcome == "undecided"  # a difference that favours the rival
    assert not ours.contrast_of_searches(WORSE, WELL, **LOSSES).behind


def test_the_best_wins_in_the_share_of_all_pairs_of_searches_or_of_seeds():
    best, rival = np.array([0.3, 0.5]), np.array([0.2, 0.3, 0.4])
    assert ours.contrast_of_searches(best, rival, **LOSSES).p_best_wins == (1.5 + 3) / 6
    assert ours.contrast_of_seeds(best, rival[1:], **LOSSES).p_best_wins == (0.5 + 1) / 2


def test_paired_seeds_are_compared_by_students_t_and_sign_flips():
    found = ours.contrast_of_seeds(FOCAL, ENTROPY, **LOSSES)
    theirs = stats.ttest_rel(ENTROPY, FOCAL)
    assert (found.unit, found.n_best, found.n_rival, found.difference.n) == ("seed", 8, 8, 8)
    assert (found.difference.mean, found.difference.sd) == pytest.approx(((ENTROPY - FOCAL).mean(), stats.tstd(ENTROPY - FOCAL)))
    assert (found.difference.low, found.difference.high) == pytest.approx(tuple(theirs.confidence_interval(0.95)))
    assert (found.equal_low, found.equal_high) == pytest.approx(tuple(theirs.confidence_interval(0.90)))
    assert (found.p_value, found.outcome) == (8 / 256, "better")
    assert (found.sd_low, found.sd_high) == pytest.approx(ours.sd_interval(stats.tstd(ENTROPY - FOCAL), 7))


@pytest.mark.parametrize(
    ("lead", "wobble", "margin", "outcome"),
    [
        (0.010, 0.001, 0.005, "better"),
        (0.003, 0.001, 0.005, "better"),  # within the margin, and better all the same
        (0.0005, 0.001, 0.005, "equal"),
        (0.0005, 0.001, None, "undecided"),
        (0.0005, 0.001, 0.001, "undecided"),
        (0.0005, 0.010, 0.005, "undecided"),
        (0.010, 0.012, 0.005, "undecided"),
    ],
)
@pytest.mark.parametrize("unit", ["search", "seed"])
def test_the_outcome_is_better_or_else_equal_or_else_undecided(lead, wobble, margin, outcome, unit):
    steps = wobble * np.array([-1.0, 0.5, 1.0, -0.5, 0.2, -0.2])
    found = ours.contrast(unit, 0.5 + lead + steps, 0.5 + steps[[1, 0, 3, 2, 5, 4]], **{**LOSSES, "margin": margin})
    assert found.outcome == outcome


@pytest.mark.parametrize("unit", ["search", "seed"])
def test_a_verdict_never_contradicts_the_interval_beside_it(unit):
    rng = np.random.default_rng(8)
    n_p_alone = 0
    for _ in range(400):
        best, rival = rng.normal(0.6, 0.001, 5 if unit == "search" else 8), rng.normal(0.59, 0.012, 5 if unit == "search" else 8)
        found = ours.contrast(unit, best, rival, **LOSSES)
        if found.outcome == "better":
            assert found.p_value <= 0.05
            assert found.difference.high < 0
        elif found.outcome == "equal":
            assert -0.005 <= found.equal_low <= found.equal_high <= 0.005
        else:
            n_p_alone += found.p_value <= 0.05
    assert n_p_alone > 0


@pytest.mark.parametrize("unit", ["search", "seed"])
def test_of_a_single_search_or_seed_nothing_is_known_but_its_difference(unit):
    found = ours.contrast(unit, np.array([0.6]), np.array([0.5]), **LOSSES)
    assert found.difference == ours.Estimate(1, pytest.approx(-0.1), None, None, None)
    assert (found.p_value, found.equal_low, found.sd_low, found.outcome, found.behind) == (None, None, None, "undecided", False)
    assert found.p_best_wins == 1.0
    assert ours.chance_to_find(found, 0.01) is None


def test_one_search_against_several_is_undecided():
    found = ours.contrast_of_searches(np.array([0.9]), WORSE, **LOSSES)
    assert (found.n_best, found.n_rival, found.difference.n, found.p_value, found.outcome) == (1, 5, 1, None, "undecided")


@pytest.mark.parametrize(
    ("n", "lead", "outcome"),
    [
        (6, 0.02, "better"),
        (5, 0.02, "undecided"),
        (5, 0.0, "equal"),
        (2, 0.0, "undecided"),
    ],
)
def test_without_any_spread_only_enough_seeds_show_a_lead_or_its_absence(n, lead, outcome):
    values = np.linspace(0.28, 0.61, n)
    found = ours.contrast_of_seeds(values + lead, values, **LOSSES)
    assert (found.difference.mean, found.difference.sd) == (pytest.approx(-lead), 0.0)
    assert found.difference.low == found.difference.high == found.equal_low == found.difference.mean
    assert (found.sd_low, found.outcome) == (None, outcome)
    assert ours.chance_to_find(found, 0.01) is None


ALL_THE_SAME, ALL_DIFFERENT = np.zeros(5, dtype=np.int64), np.arange(5)


def test_searches_that_found_the_same_configuration_are_one_figure_of_more_weight():
    found = np.repeat(np.arange(3), 2)
    twice = ours.contrast_of_searches(np.repeat(WELL[:3], 2), WORSE, **LOSSES, configurations=(found, ALL_DIFFERENT))
    theirs = stats.ttest_ind(WORSE, WELL[:3], equal_var=False).confidence_interval(0.95)
    assert (twice.difference.low, twice.difference.high) == pytest.approx(tuple(theirs))
    assert ours.estimate(np.repeat(WELL[:3], 2), configurations=found).low == pytest.approx(ours.estimate(WELL[:3]).low)
    assert ours.estimate(WELL, configurations=ALL_DIFFERENT).high == pytest.approx(ours.estimate(WELL).high)


def test_figures_that_are_equal_by_chance_count_by_themselves():
    tied = np.array([0.581, 0.581, 0.579, 0.579, 0.584])
    found = ours.contrast_of_searches(tied, WORSE, **LOSSES, configurations=(ALL_DIFFERENT, ALL_DIFFERENT))
    theirs = stats.ttest_ind(WORSE, tied, equal_var=False)
    assert (found.difference.low, found.difference.high) == pytest.approx(tuple(theirs.confidence_interval(0.95)))
    assert found.freedom == pytest.approx(theirs.df)


def test_what_is_said_to_be_one_configuration_is_one_figure_whatever_its_figures():
    figures = np.array([0.600, 0.601, 0.599, 0.6005, 0.5995])
    found = ours.contrast_of_searches(figures, WORSE, **LOSSES, configurations=(ALL_THE_SAME, ALL_DIFFERENT))
    same = ours.contrast_of_searches(np.full(5, 0.6), WORSE, **LOSSES, configurations=(ALL_THE_SAME, ALL_DIFFERENT))
    assert (found.difference.low, found.freedom) == (pytest.approx(same.difference.low), same.freedom)


def test_an_arm_whose_searches_all_found_the_same_is_one_figure_against_those_of_the_other():
    searches = LOSSES | {"configurations": (ALL_THE_SAME, ALL_DIFFERENT)}
    found = ours.contrast_of_searches(np.full(5, 0.60), WORSE, **searches)
    half = stats.t.ppf(0.975, 4) * stats.tstd(WORSE) * math.sqrt(1 + 1 / 5)
    gap = WORSE.mean() - 0.60
    assert (found.difference.low, found.difference.high) == (pytest.approx(gap - half), pytest.approx(gap + half))
    assert found.outcome == "better"
    near = ours.contrast_of_searches(np.full(5, 0.58), WORSE, **searches)
    assert (near.p_value, near.outcome) == (pytest.approx(2 / 252), "undecided")


@pytest.mark.parametrize("lead", [0.02, 0.0])
def test_two_arms_whose_searches_all_found_the_same_are_undecided_for_nothing_is_known_of_other_seeds(lead):
    found = ours.contrast_of_searches(np.full(5, 0.28 + lead), np.full(5, 0.28), **LOSSES, configurations=(ALL_THE_SAME, ALL_THE_SAME))
    assert found.difference == ours.Estimate(5, pytest.approx(-lead), None, None, None)
    assert (found.p_value, found.equal_low, found.outcome, found.behind) == (None, None, "undecided", False)
    assert ours.estimate(np.full(5, 0.28), configurations=ALL_THE_SAME) == ours.Estimate(5, pytest.approx(0.28), None, None, None)


@pytest.mark.parametrize(("lead", "outcome"), [(0.02, "better"), (0.0, "equal")])
def test_different_configurations_that_all_score_the_same_are_told_apart_or_equal(lead, outcome):
    found = ours.contrast_of_searches(np.full(5, 0.28 + lead), np.full(5, 0.28), **LOSSES, configurations=(ALL_DIFFERENT, ALL_DIFFERENT))
    assert (found.outcome, found.difference.low) == (outcome, pytest.approx(-lead))


def test_four_searches_and_six_seeds_are_the_fewest_that_can_tell_two_arms_apart():
    assert (NEEDED_SEARCHES, NEEDED_SEEDS) == (4, 6)
    far = np.array([0.01, 0.02, 0.03, 0.04, 0.05, 0.06])
    for unit, needed in (("search", 4), ("seed", 6)):
        assert ours.contrast(unit, 0.5 + far[:needed], far[:needed] ** 2, **LOSSES).outcome == "better"
        assert ours.contrast(unit, 0.5 + far[: needed - 1], far[: needed - 1] ** 2, **LOSSES).outcome == "undecided"


def test_labels_of_up_to_eight_searches_an_arm_are_all_permuted_and_of_more_drawn_always_alike():
    rng = np.random.default_rng(6)
    best, rival = rng.normal(0.6, 1, 8), rng.normal(0, 1, 8)
    assert ours.label_permutation_p(best, rival) * math.comb(16, 8) == pytest.approx(round(ours.label_permutation_p(best, rival) * 12_870))
    best, rival = rng.normal(0.6, 1, 20), rng.normal(0, 1, 30)
    p = ours.label_permutation_p(best, rival)
    assert p == ours.label_permutation_p(best, rival)
    assert p == pytest.approx(stats.ttest_ind(best, rival).pvalue, abs=0.01)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 20), min_size=2, max_size=5), st.lists(st.integers(0, 20), min_size=2, max_size=5))
def test_the_permutation_of_labels_is_exact_whatever_ties(best, rival):
    every = best + rival
    observed = abs(sum(best) * len(rival) - sum(rival) * len(best))
    sums = [sum(chosen) for chosen in itertools.combinations(every, len(best))]
    n_as_large = sum(abs(each * len(rival) - (sum(every) - each) * len(best)) >= observed for each in sums)
    found = ours.label_permutation_p(np.array(best) / 1000 + 0.5, np.array(rival) / 1000 + 0.5)
    assert found == pytest.approx(n_as_large / len(sums))


@pytest.mark.parametrize(("n_arms", "behind"), [(2, True), (3, True), (4, False)])
def test_an_arm_is_behind_at_a_level_that_all_pairs_of_arms_share(n_arms, behind):
    rival = np.array([0.568, 0.5740, 0.571, 0.560, 0.563])  # one of its searches is as good as the worst of the best arm's
    found = ours.contrast_of_searches(WELL, rival, **{**LOSSES, "n_arms": n_arms})
    assert found.p_value == pytest.approx(4 / 252)
    assert found.behind is behind


def test_two_searches_show_an_arm_behind_that_is_far_below():
    found = ours.contrast_of_searches(np.array([0.580, 0.581]), np.array([0.100, 0.101]), **{**LOSSES, "n_arms": 3})
    assert (found.outcome, found.behind) == ("undecided", True)
    assert not ours.contrast_of_searches(np.array([0.580, 0.581]), np.array([0.578, 0.579]), **{**LOSSES, "n_arms": 3}).behind


@pytest.mark.parametrize(("n_best", "n_rival"), [(4, 4), (5, 5), (7, 5)])
def test_the_power_of_searches_is_what_simulation_finds(n_best, n_rival):
    rng = np.random.default_rng(7)
    found = [ours.label_permutation_p(rng.normal(2.0, 1.0, n_best), rng.normal(0, 1.0, n_rival)) <= 0.05 for _ in range(1_000)]
    assert np.mean(found) == pytest.approx(ours.power_of_searches(2.0, 1.0, n_best, n_rival), abs=0.05)
    assert ours.power_of_searches(2.0, 1.0, 3, 3) == 0.0
    assert ours.power_of_searches(2.0, 0.0, 4, 4) == 1.0


def test_a_stated_chance_ranges_over_what_the_spread_may_be():
    found = ours.contrast_of_searches(WELL, WORSE, **LOSSES)
    assert found.difference.sd == pytest.approx(math.sqrt((WELL.var(ddof=1) + WORSE.var(ddof=1)) / 2))
    stated = ours.chance_to_find(found, 0.01)
    assert stated.power == ours.power_of_searches(0.01, found.difference.sd, 5, 5)
    assert stated.low == ours.power_of_searches(0.01, found.sd_high, 5, 5) < stated.power < stated.high
    seeds = ours.contrast_of_seeds(FOCAL, ENTROPY, **LOSSES)
    assert ours.chance_to_find(seeds, 0.01).power == ours.power(0.01, seeds.difference.sd, 8)


def test_an_interval_of_a_difference_is_cut_at_what_is_possible():
    assert ours.contrast_of_searches(np.array([0.99, 0.4]), np.array([0.01, 0.6]), **LOSSES).difference.low == -1.0


def test_the_interval_of_a_share_of_one_unit_is_wilsons_for_its_images():
    for n_right in (300, 700, 980):
        shares = (np.arange(1000) < n_right).astype(float)[None]
        expected = stats.binomtest(n_right, 1000).proportion_ci(0.95, method="wilson")
        assert ours.share_interval(shares) == pytest.approx((expected.low, expected.high), abs=2e-4)


@pytest.mark.parametrize("n_units", [1, 2, 5])
def test_the_interval_of_a_share_is_not_empty_where_all_units_agree_on_all_images(n_units):
    low, high = ours.share_interval(np.ones((n_units, 10)))
    assert (low, high) == (pytest.approx(10 / (10 + stats.t.ppf(0.975, 9) ** 2)), 1.0)
    assert ours.share_interval(np.zeros((n_units, 10))) == pytest.approx((1 - high, 1 - low))


@pytest.mark.parametrize("n_images", [1, 2, 7])
def test_the_interval_of_a_share_holds_it_and_lies_within_0_and_1(n_images):
    for shares in itertools.product([0.0, 0.5, 1.0], repeat=2 * n_images if n_images < 7 else 4):
        table = np.resize(np.array(shares), (2, n_images))
        low, high = ours.share_interval(table)
        assert 0 <= low <= table.mean() + 1e-12
        assert table.mean() - 1e-12 <= high <= 1


@pytest.mark.parametrize("n_images", [10, 100])
@pytest.mark.parametrize("n_units", [2, 5])
@pytest.mark.parametrize("level", [1.0, 4.0])
def test_the_interval_of_a_share_holds_that_of_new_units_on_new_images_nineteen_times_in_twenty(n_units, n_images, level):
    """Networks and images differ in their logit: of being right by 0.3 and 2 (sd), about a level of 65 % or 93 % right."""
    rng = np.random.default_rng(0)

    def chances(n, rows, columns):
        units, images = 0.3 * rng.normal(size=(n, rows, 1)), 2 * rng.normal(size=(n, 1, columns))
        return 1 / (1 + np.exp(-(level + units + images)))

    true = float(chances(1, 1000, 1000).mean())
    found = [ours.share_interval((rng.random(p.shape) < p).astype(float)) for p in chances(1000, n_units, n_images)]
    assert np.mean([low <= true <= high for low, high in found]) >= 0.94
