"""Several searches of each arm: what the verdict says of losses, on figures whose answer is known."""

import itertools
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sweeps import SPACE, SweepBuilder

from sweeper.records import Phase, TrialState
from sweeper.report import FORMATS, report
from sweeper.report.summarize import summarize

AHEAD = [[0.569, 0.571], [0.562, 0.564], [0.568, 0.570], [0.569, 0.570], [0.567, 0.566]]
BEHIND = [[0.559, 0.561], [0.546, 0.547], [0.550, 0.552], [0.555, 0.554], [0.552, 0.553]]
NEAR = [[0.568, 0.571], [0.563, 0.562], [0.567, 0.569], [0.568, 0.570], [0.566, 0.567]]
WIDE = [[0.580, 0.581], [0.540, 0.541], [0.570, 0.569], [0.555, 0.556], [0.560, 0.562]]
FAR = [[0.30, 0.31], [0.29, 0.30], [0.311, 0.309], [0.30, 0.288], [0.32, 0.31]]


def build(results, figures, *, seeds=2, trials=4, all_differ=False):
    """A finished sweep with test accuracies by arm, search and seed; ``None`` for a diverged confirm trial or a search without a pick.

    ``all_differ``: whether each search tried a configuration of its own; else those of an arm are all the same.
    """
    n_searches = max(len(searches) for searches in figures.values())
    space = SPACE.replace("[l1, cross_entropy, focal]", f"[{', '.join(figures)}]")
    space = space.replace("searches: 1, trials_per_arm: 4, seeds: 8", f"searches: {n_searches}, trials_per_arm: {trials}, seeds: {seeds}")
    builder = SweepBuilder(results, space=space)
    for arm, searches in figures.items():
        extra = {"gamma": 1.0} if arm == "focal" else {}
        for search, accuracies in enumerate(searches, start=1):
            extra |= {"learning_rate": search / 100} if all_differ else {}
            for number in range(trials):
                has_pick = number == 0 and accuracies is not None
                state = TrialState.COMPLETE if has_pick else TrialState.PRUNED
                curve = [0.3, 0.4, 0.5, 0.55 + search / 1000] if has_pick else [0.3]
                builder.trial(arm, number, curve, state=state, search=search, seed=search, **extra)
            for number, accuracy in enumerate(accuracies or []):
                if accuracy is None:
                    state, curve = TrialState.DIVERGED, [0.1]
                    builder.trial(arm, number, curve, state=state, phase=Phase.CONFIRM, search=search, seed=100 + number, **extra)
                else:
                    builder.confirm(arm, [accuracy], first_seed=100 + number, search=search, **extra)
                    name = builder.trial_rows[-1]["trial"].rpartition("-")[0]
                    builder.trial_rows[-1] |= {"number": number, "trial": f"{name}-{number}"}
    return builder.done()


def summary_of(results, figures, **options):
    build(results, figures, **options)
    return summarize(str(results)).sweeps[0]


def verdict_of(results, figures, **options):
    return summary_of(results, figures, **options).verdict


def means(figures):
    return np.mean(figures, axis=1)


def welch(best, rival, level=0.95):
    """Difference and interval in points, best less rival, by scipy."""
    found = stats.ttest_ind(means(best), means(rival), equal_var=False)
    interval = found.confidence_interval(level)
    return [f"{100 * value:.2f}" for value in (means(best).mean() - means(rival).mean(), interval.low, interval.high)]


def permutation_p(best, rival):
    pooled, gaps = np.concatenate([means(best), means(rival)]), []
    for chosen in itertools.combinations(range(len(pooled)), len(best)):
        gaps.append(abs(pooled[list(chosen)].mean() - np.delete(pooled, chosen).mean()))
    return f"{np.mean(np.array(gaps) >= gaps[0] - 1e-12):.3f}"


def test_a_loss_is_best_over_searches(tmp_path):
    found = verdict_of(tmp_path, {"cross_entropy": AHEAD, "focal": BEHIND})
    gap, low, high = welch(AHEAD, BEHIND)
    assert (found.kind, found.best, found.rivals) == ("better", "cross_entropy", ())
    assert found.sentence == (
        f"cross_entropy is best over 5 searches of 4 trials each: {gap} points [{low}, {high}] above focal (p = 0.008, searches permuted)."
    )


def test_a_loss_is_best_of_three_against_each_without_a_correction(tmp_path):
    found = verdict_of(tmp_path, {"l1": FAR, "cross_entropy": AHEAD, "focal": BEHIND})
    near, far = welch(AHEAD, BEHIND), welch(AHEAD, FAR)
    assert found.kind == "better"
    assert found.sentence == (
        f"cross_entropy is best over 5 searches of 4 trials each: {near[0]} points [{near[1]}, {near[2]}] above focal "
        f"(p = 0.008, searches permuted), and {far[0]} points [{far[1]}, {far[2]}] above l1 (p = 0.008, searches permuted)."
    )


def test_losses_that_surely_differ_by_less_than_the_margin_are_equal(tmp_path):
    found = verdict_of(tmp_path, {"l1": FAR, "cross_entropy": AHEAD, "focal": NEAR})
    gap, low, high = welch(AHEAD, NEAR, level=0.9)
    assert (found.kind, found.best, found.rivals) == ("equal", "cross_entropy", ("focal",))
    assert found.sentence == (
        f"cross_entropy and focal are equal within 0.5 points over 5 searches of 4 trials each: difference {gap} points, "
        f"90 % interval [{low}, {high}]; l1 is behind."
    )


def test_losses_that_are_neither_told_apart_nor_equal_are_undecided(tmp_path):
    found = verdict_of(tmp_path, {"l1": FAR, "cross_entropy": AHEAD, "focal": WIDE})
    gap, low, high = welch(AHEAD, WIDE)
    assert (found.kind, found.best, found.rivals) == ("undecided", "cross_entropy", ("focal",))
    assert found.sentence == (
        f"Undecided between cross_entropy and focal over 5 searches of 4 trials each: cross_entropy leads focal by {gap} points "
        f"[{low}, {high}] (p = {permutation_p(AHEAD, WIDE)}, searches permuted); l1 is behind."
    )


def test_a_lead_that_is_sure_and_small_is_better_and_within_the_margin(tmp_path):
    small = [[value - 0.002 for value in search] for search in np.full((5, 2), 0.57) + np.arange(5)[:, None] / 10_000]
    found = verdict_of(tmp_path, {"cross_entropy": [[value + 0.002 for value in search] for search in small], "focal": small})
    assert found.kind == "better"
    assert found.sentence.endswith("above focal (p = 0.008, searches permuted); this lead lies within the margin of 0.5 points.")


def test_three_searches_cannot_decide_and_the_reason_is_told(tmp_path):
    summary = summary_of(tmp_path, {"cross_entropy": AHEAD[:3], "focal": BEHIND[:3]})
    assert summary.verdict.kind == "undecided"
    assert summary.verdict.sentence.endswith("(p = 0.100, searches permuted); 3 searches of each arm cannot show more: 4 are needed.")
    assert "3 searches of each arm cannot reach p = 0.05: at least 4 are needed (compare.searches)" in summary.warnings


def test_two_searches_can_show_an_arm_behind_and_never_one_ahead(tmp_path):
    found = verdict_of(tmp_path, {"l1": FAR[:2], "cross_entropy": AHEAD[:2], "focal": WIDE[:2]})
    assert found.kind == "undecided"
    assert set(found.rivals) <= {"focal", "cross_entropy"}
    assert "; l1 is behind." in found.sentence


@pytest.mark.parametrize("lost", [[None] * 5, [[None, None]] * 5])
def test_no_loss_is_best_while_a_rival_has_no_figure_at_all(tmp_path, lost):
    found = verdict_of(tmp_path, {"l1": lost, "cross_entropy": AHEAD, "focal": BEHIND})
    assert (found.kind, found.best, found.rivals) == ("undecided", "cross_entropy", ("l1",))
    assert found.sentence.startswith("Undecided: cross_entropy leads focal by ")
    assert found.sentence.endswith("; no seed of l1 was confirmed.")


@pytest.mark.parametrize(("search", "seed"), list(itertools.product(range(5), range(2))))
def test_a_loss_that_diverged_on_a_seed_is_not_called_best(tmp_path, search, seed):
    figures = [list(found) for found in AHEAD]
    figures[search][seed] = None
    found = verdict_of(tmp_path, {"cross_entropy": figures, "focal": BEHIND})
    assert (found.kind, found.best) == ("undecided", "cross_entropy")
    assert found.sentence.endswith("over 5 searches of 4 trials each; 1 of 10 confirm trials of cross_entropy diverged or failed.")


def test_a_loss_of_which_a_search_found_nothing_is_not_called_best(tmp_path):
    found = verdict_of(tmp_path, {"cross_entropy": [*AHEAD[:4], None], "focal": BEHIND})
    assert found.kind == "undecided"
    assert found.sentence.endswith("; 1 of 5 searches of cross_entropy found no configuration to confirm.")


def test_a_rival_that_lacks_a_search_is_beaten_on_the_rest_with_a_caution(tmp_path):
    summary = summary_of(tmp_path, {"cross_entropy": AHEAD, "focal": [*BEHIND[:4], None]})
    gap, low, high = welch(AHEAD, BEHIND[:4])
    assert summary.verdict.sentence == (
        f"cross_entropy is best over 4 to 5 searches of 4 trials each: {gap} points [{low}, {high}] above focal "
        f"(p = {permutation_p(AHEAD, BEHIND[:4])}, searches permuted)."
    )
    assert "the arms have different numbers of measured searches (cross_entropy 5, focal 4); differences are over all of them" in (
        summary.warnings
    )


def test_a_seed_that_one_search_of_a_rival_lost_counts_in_no_search_of_either(tmp_path):
    figures = [list(found) for found in BEHIND]
    figures[2][0] = None
    summary = summary_of(tmp_path, {"cross_entropy": AHEAD, "focal": figures})
    rival = summary.comparison.arms[1]
    second = [found[1:] for found in AHEAD], [found[1:] for found in BEHIND]
    assert rival.common_seeds == (101,)
    assert rival.contrast.difference.mean == pytest.approx(means(second[1]).mean() - means(second[0]).mean())
    assert "focal is compared with cross_entropy on 1 of 2 seeds: those that all searches of both arms have" in summary.warnings


def test_arms_without_a_common_seed_are_not_compared(tmp_path):
    figures = [list(found) for found in BEHIND]
    figures[2][0] = figures[3][1] = None
    found = verdict_of(tmp_path, {"cross_entropy": AHEAD, "focal": figures})
    assert (found.kind, found.rivals) == ("undecided", ("focal",))
    assert found.sentence.endswith("; cross_entropy and focal have no seed in common in all of their searches.")


def test_searches_that_all_found_the_same_say_nothing_of_other_seeds(tmp_path):
    found = verdict_of(tmp_path, {"cross_entropy": [[0.57, 0.58]] * 5, "focal": [[0.55, 0.56]] * 5})
    assert found.kind == "undecided"
    assert found.sentence.endswith("cross_entropy leads focal by 2.00 points (all searches of an arm found the same).")


@pytest.mark.parametrize(("rival", "kind"), [(0.55, "better"), (0.57, "equal")])
def test_searches_that_found_different_configurations_of_one_accuracy_do_tell(tmp_path, rival, kind):
    found = summary_of(tmp_path, {"cross_entropy": [[0.57, 0.57]] * 5, "focal": [[rival, rival]] * 5}, all_differ=True)
    assert found.verdict.kind == kind
    assert found.comparison.arms[0].measures["test_accuracy"].low == pytest.approx(0.57)


def test_figures_that_are_equal_by_chance_are_two_searches(tmp_path):
    tied = [*AHEAD[:4], AHEAD[0]]
    found = summary_of(tmp_path, {"cross_entropy": tied, "focal": BEHIND}, all_differ=True)
    theirs = stats.ttest_ind(means(BEHIND), means(tied), equal_var=False)
    assert found.comparison.arms[1].contrast.freedom == pytest.approx(theirs.df)
    assert found.comparison.arms[1].contrast.difference.low == pytest.approx(theirs.confidence_interval(0.95).low)


def test_one_configuration_that_two_searches_found_counts_once_with_more_weight(tmp_path):
    found = summary_of(tmp_path, {"cross_entropy": [*AHEAD[:4], AHEAD[0]], "focal": BEHIND})
    weights, figures = np.array([0.4, 0.2, 0.2, 0.2]), means(AHEAD[:4])
    variance = weights @ (figures - weights @ figures) ** 2 / (1 - weights @ weights)
    assert found.comparison.arms[0].measures["test_accuracy"].sd == pytest.approx(np.sqrt(variance))


def test_a_metric_without_a_margin_has_no_equal_arms(tmp_path):
    build(tmp_path, {"cross_entropy": AHEAD, "focal": NEAR})
    found = summarize(str(tmp_path), metric="nll").sweeps[0]
    assert found.comparison.margin is None
    assert found.verdict.kind == "undecided"


def test_by_a_metric_that_is_better_when_small_the_best_is_below(tmp_path):
    build(tmp_path, {"cross_entropy": AHEAD, "focal": BEHIND})
    found = summarize(str(tmp_path), metric="nll").sweeps[0].verdict
    gap, low, high = (f"{float(points) / 100:.3f}" for points in welch(AHEAD, BEHIND))  # the NLL of these trials is 2 less the accuracy
    assert found.sentence == (
        f"cross_entropy is best by NLL over 5 searches of 4 trials each: {gap} [{low}, {high}] below focal (p = 0.008, searches permuted)."
    )


def test_the_best_configuration_of_an_arm_is_the_pick_with_the_best_validation(tmp_path):
    summary = summary_of(tmp_path, {"cross_entropy": AHEAD, "focal": BEHIND})
    assert [(arm.best.trial, arm.best.search) for arm in summary.arms] == [("cross_entropy-s5-0", 5), ("focal-s5-0", 5)]
    assert "accuracy: cross_entropy-s5-0 (search 5) and focal-s5-0 (search 5)." in " ".join(report(str(tmp_path)).split())


def test_every_search_is_told_in_every_format(tmp_path):
    build(tmp_path, {"cross_entropy": AHEAD, "focal": BEHIND})
    for format_ in FORMATS:
        text = report(str(tmp_path), format=format_)
        for search in range(2, 6):
            assert f"focal-s{search}-0" in text, format_


def test_the_comparison_can_be_computed_again_from_parquet(tmp_path):
    folder = Path(str(build(tmp_path, {"l1": FAR, "cross_entropy": AHEAD, "focal": BEHIND})))
    rows = pd.read_parquet(folder / "trials")
    confirm = rows[(rows["phase"] == "confirm") & (rows["state"] == "complete")]
    accuracy = confirm.pivot(index=["arm", "search"], columns="seed", values="test_accuracy")
    found = json.loads(report(str(tmp_path), format="json"))["sweeps"][0]
    comparison = found["comparison"]
    assert (comparison["unit"], comparison["margin"], comparison["needed"]) == ("search", 0.005, 4)
    for arm in found["arms"]:
        for search in arm["searches"]:
            stored = accuracy.loc[(arm["arm"], search["number"])]
            assert search["seeds"] == stored.index.tolist()
            assert search["values"]["test_accuracy"] == stored.tolist()
            assert search["means"]["test_accuracy"] == pytest.approx(stored.mean())
            tried = rows[(rows["arm"] == arm["arm"]) & (rows["search"] == search["number"]) & (rows["phase"] == "search")]
            assert search["pick"]["trial"] == tried.loc[tried["value"].idxmax(), "trial"]
            assert search["search"]["epochs"] == tried["epochs"].sum()
    figures = accuracy.mean(axis=1)
    best = figures["cross_entropy"].to_numpy()
    assert [arm["arm"] for arm in comparison["arms"]] == ["cross_entropy", "focal", "l1"]
    for arm in comparison["arms"]:
        own = figures[arm["arm"]].to_numpy()
        level = stats.t.interval(0.95, 4, own.mean(), stats.sem(own))
        assert [arm["measures"]["test_accuracy"][part] for part in ("low", "high")] == pytest.approx(level)
        if arm["arm"] == "cross_entropy":
            assert arm["contrast"] is None
            continue
        contrast, welch_test = arm["contrast"], stats.ttest_ind(own, best, equal_var=False)
        for names, level in ((("low", "high"), 0.95), (("equal_low", "equal_high"), 0.9)):
            stored = [(contrast["difference"] if "low" in names else contrast)[name] for name in names]
            assert stored == pytest.approx(welch_test.confidence_interval(level))
        assert contrast["difference"]["mean"] == pytest.approx(own.mean() - best.mean())
        assert contrast["freedom"] == pytest.approx(welch_test.df)
        every = list(itertools.combinations(np.concatenate([best, own]), 5))
        total = np.concatenate([best, own]).sum()
        gaps = np.array([abs(2 * sum(chosen) - total) for chosen in every])
        assert contrast["n_permutations"] == len(every) == 252
        assert contrast["p_value"] == pytest.approx(np.mean(gaps >= gaps[0] - 1e-12))
        assert contrast["p_best_wins"] == np.mean(np.greater.outer(best, own))
    assert "two-sided permutation of the search labels, all 252" in comparison["method"]
