"""What the verdict claims: no more than the seeds, the searches and the measure carry."""

import itertools

import pytest
from sweeps import PROVENANCE, SPACE, SweepBuilder, searched

from sweeper.records import Phase, TestMetrics, TrialState
from sweeper.report import report
from sweeper.report.summarize import summarize
from sweeper.store import SweepFolder

TWO = SPACE.replace("[l1, cross_entropy, focal]", "[cross_entropy, focal]")
ENTROPY = [0.50, 0.51, 0.60, 0.52, 0.49, 0.50, 0.51, 0.53]
LEAD = [0.011, 0.009, 0.012, 0.010, 0.013, 0.008, 0.012, 0.009]
FOCAL = [value + lead for value, lead in zip(ENTROPY, LEAD, strict=True)]
GAMMA = {"gamma": 1.0}


def two_arms(folder, space=TWO):
    """A finished search of cross-entropy and focal, nothing confirmed."""
    builder = SweepBuilder(folder, space=space, provenance={**PROVENANCE, "dataset": {"name": "parquet", "classes": list("abcdefghij")}})
    for arm, extra in (("cross_entropy", {}), ("focal", GAMMA)):
        builder.trial(arm, 0, [0.3, 0.4, 0.5, 0.55], **extra)
        for number in (1, 2, 3):
            builder.trial(arm, number, [0.3], state=TrialState.PRUNED, **extra)
    return builder


def confirm(builder, arm, accuracies, **parameters):
    """Seeds 100 on; ``None`` is a seed on which the arm diverged, an exception one on which it failed."""
    for number, accuracy in enumerate(accuracies):
        if accuracy is None or isinstance(accuracy, Exception):
            state = TrialState.DIVERGED if accuracy is None else TrialState.FAILED
            builder.trial(arm, number, [0.1], state=state, phase=Phase.CONFIRM, seed=100 + number, error=repr(accuracy), **parameters)
        else:
            builder.confirm(arm, [accuracy], first_seed=100 + number, **parameters)
            builder.trial_rows[-1] |= {"number": number, "trial": f"{arm}-confirm-{number}"}


def verdict_of(results, **options):
    return summarize(str(results), **options).sweeps[0].verdict


def test_a_winner_is_a_configuration_and_one_search_may_be_reversed_by_another(tmp_path):
    builder = two_arms(tmp_path)
    confirm(builder, "cross_entropy", ENTROPY)
    confirm(builder, "focal", FOCAL, **GAMMA)
    builder.done()
    assert verdict_of(tmp_path).sentence == (
        "The configuration found for focal beats the one found for cross_entropy by 1.05 points [0.90, 1.20] (p = 0.008, 8 paired seeds). "
        "One search per loss: another search may reverse this; `compare.searches: 5` asks about the losses."
    )


def test_no_arm_is_said_to_be_able_to_score_more_than_all_or_less_than_nothing(tmp_path):
    builder = two_arms(tmp_path)
    confirm(builder, "cross_entropy", [0.98, 0.10, 0.97])
    confirm(builder, "focal", [0.10, 0.98, 0.99], **GAMMA)
    builder.done()
    found = summarize(str(tmp_path)).sweeps[0]
    first, second = (arm.measures["test_accuracy"] for arm in found.comparison.arms)
    assert (first.low, first.high, second.low, second.high) == (0.0, 1.0, 0.0, 1.0)
    difference = found.comparison.arms[1].contrast.difference
    assert (difference.low, difference.high) == (-1.0, 1.0)
    assert "[0.0, 100.0]" in found.verdict.sentence


def test_where_nothing_is_tuned_the_claim_is_about_these_configurations(tmp_path):
    fixed = "\n".join(line for line in TWO.splitlines() if not line.startswith(("  learning_rate", "  step_size", "  gamma")))
    fixed = fixed.replace("training: {epochs: 4}", "training: {epochs: 4, learning_rate: 0.01, step_size: 5}").replace("arms: 4", "arms: 1")
    builder = SweepBuilder(tmp_path, space=fixed)
    builder.trial("cross_entropy", 0, [0.5])
    builder.trial("focal", 0, [0.5])
    confirm(builder, "cross_entropy", ENTROPY)
    confirm(builder, "focal", FOCAL)
    builder.done()
    assert verdict_of(tmp_path).sentence == (
        "The configuration of focal beats the one of cross_entropy by 1.05 points [0.90, 1.20] (p = 0.008, 8 paired seeds)."
    )


def test_of_many_arms_the_nearest_rival_is_told_and_the_rest_are_counted(tmp_path):
    space = SPACE.replace("[l1, cross_entropy, focal]", "[l1, mae, cross_entropy, focal]")
    builder = searched(tmp_path, space=space)
    for number in range(4):
        builder.trial("mae", number, [0.2])
    confirm(builder, "l1", [0.1 + value / 10 for value in ENTROPY])
    confirm(builder, "mae", [0.2 + value / 10 for value in ENTROPY])
    confirm(builder, "cross_entropy", ENTROPY)
    confirm(builder, "focal", FOCAL, **GAMMA)
    builder.done()
    assert verdict_of(tmp_path).sentence == (
        "The configuration found for focal beats the one found for cross_entropy by 1.05 points [0.90, 1.20] (p = 0.008, 8 paired seeds), "
        "and those found for the 2 other arms by more (p = 0.008 at most). One search per loss: another search may reverse this; "
        "`compare.searches: 5` asks about the losses."
    )


@pytest.mark.parametrize(("lost", "error"), list(itertools.product(range(8), [None, RuntimeError("gone")])))
def test_a_rival_that_lost_a_seed_never_makes_the_worse_arm_the_winner(tmp_path, lost, error):
    builder = two_arms(tmp_path)
    confirm(builder, "cross_entropy", ENTROPY)
    confirm(builder, "focal", [error if seed == lost else value for seed, value in enumerate(FOCAL)], **GAMMA)
    builder.done()
    found = verdict_of(tmp_path)
    assert found.best == "focal"  # ahead on each of the seeds that both have, whatever the means
    assert found.kind == "undecided"
    assert found.sentence.startswith("Undecided: the configuration found for focal leads the one found for cross_entropy by 1.0")
    assert "; 1 of 8 confirm trials of focal diverged or failed. One search" in found.sentence


@pytest.mark.parametrize("lost", range(8))
def test_the_better_arm_still_wins_where_its_rival_lost_a_seed(tmp_path, lost):
    builder = two_arms(tmp_path)
    confirm(builder, "cross_entropy", [None if seed == lost else value for seed, value in enumerate(ENTROPY)])
    confirm(builder, "focal", FOCAL, **GAMMA)
    builder.done()
    found = verdict_of(tmp_path)
    assert (found.kind, found.best) == ("better", "focal")
    assert "7 paired seeds" in found.sentence


@pytest.mark.parametrize("ending", [None, RuntimeError("gone")])
@pytest.mark.parametrize("silent", ["l1", "cross_entropy"])
def test_nobody_wins_while_a_rival_has_no_confirmed_seed(tmp_path, silent, ending):
    builder = searched(tmp_path)
    confirm(builder, "focal", FOCAL, **GAMMA)
    for arm, values in (("l1", [0.3] * 8), ("cross_entropy", ENTROPY)):
        confirm(builder, arm, [ending] * 8 if arm == silent else values)
    builder.done()
    found = verdict_of(tmp_path)
    assert (found.kind, found.best, found.rivals) == ("undecided", "focal", (silent,))
    assert found.sentence.startswith("Undecided: the configuration found for focal leads the one found for ")
    assert f"; no seed of {silent} was confirmed. One search" in found.sentence


def test_an_arm_of_whose_search_nothing_was_complete_is_a_rival_without_a_seed(tmp_path):
    builder = searched(tmp_path)
    builder.trial_rows = [row for row in builder.trial_rows if (row["arm"], row["state"]) != ("l1", "complete")]
    builder.trial("l1", 0, [0.1], state=TrialState.DIVERGED)
    confirm(builder, "cross_entropy", ENTROPY)
    confirm(builder, "focal", FOCAL, **GAMMA)
    builder.done()
    found = verdict_of(tmp_path)
    assert (found.kind, found.rivals) == ("undecided", ("l1",))
    assert "; no seed of l1 was confirmed. One search" in found.sentence


@pytest.mark.parametrize("metric", ["loss", "val_loss", "test_loss"])
def test_values_of_different_losses_get_a_table_and_no_verdict(confirmed, metric):
    summary = summarize(str(confirmed), metric=metric).sweeps[0]
    assert (summary.verdict.kind, summary.verdict.best) == ("not_comparable", None)
    assert summary.verdict.sentence == (
        "No verdict: loss is each arm's own, and its values cannot be compared between losses; --metric accuracy compares."
    )
    assert [arm.arm for arm in summary.comparison.arms] == ["l1", "cross_entropy", "focal"]
    assert all(arm.contrast is None for arm in summary.comparison.arms)
    assert "test_loss" in summary.comparison.arms[0].measures
    text = report(str(confirmed), metric=metric)
    assert "Power" not in text
    assert "beats" not in text


def test_a_search_by_each_arms_own_loss_tells_no_best_arm(finished_search):
    assert verdict_of(finished_search, metric="loss").kind == "not_comparable"


def test_the_loss_can_be_compared_where_all_arms_train_with_the_same(tmp_path):
    space = """
name: rates
dataset: {name: synthetic}
training: {epochs: 1}
parameters: {loss: cross_entropy, momentum: {choices: [0.5, 0.9]}, learning_rate: {low: 0.01, high: 0.1}}
compare: {arms: momentum, searches: 1, trials_per_arm: 1, seeds: 8}
"""
    builder = SweepBuilder(tmp_path, space=space)
    for arm, values in (("0.5", ENTROPY), ("0.9", FOCAL)):
        chosen = {"loss": "cross_entropy", "momentum": float(arm)}
        builder.trial(arm, 0, [0.5], **chosen)
        confirm(builder, arm, values, **chosen)
    builder.done()
    found = verdict_of(tmp_path, metric="loss")
    assert (found.kind, found.best) == ("better", "0.9")
    assert found.sentence.endswith("One search per arm: another search may reverse this; `compare.searches: 5` asks about the arms.")


@pytest.fixture
def guessing(tmp_path):
    """l1 stays at 10 % of ten classes, with the lowest ECE of all."""
    provenance = {**PROVENANCE, "dataset": {"name": "parquet", "classes": list("abcdefghij")}}
    builder = searched(tmp_path)
    builder.folder.write_provenance(provenance)
    confirm(builder, "l1", [0.10, 0.101, 0.099, 0.10, 0.11, 0.10, 0.10, 0.105])
    confirm(builder, "cross_entropy", ENTROPY)
    confirm(builder, "focal", FOCAL, **GAMMA)
    for row in builder.trial_rows:
        if row["phase"] == "confirm":
            row["test_ece"] = {"l1": 0.005, "cross_entropy": 0.02, "focal": 0.09}[row["arm"]] + 0.0003 * (row["number"] % 3)
    builder.done()
    return tmp_path


def test_a_network_that_guesses_wins_nothing_by_its_calibration(guessing):
    summary = summarize(str(guessing), metric="ece").sweeps[0]
    assert (summary.verdict.kind, summary.verdict.best) == ("better", "cross_entropy")
    assert "; left out, since it classifies no better than guessing: l1. One search" in summary.verdict.sentence
    assert summary.warnings[0] == "l1 classifies no better than guessing (accuracy 10.2 % of 10 classes): its ECE says nothing for it"
    assert [arm.arm for arm in summary.comparison.arms] == ["cross_entropy", "focal", "l1"]


def test_by_accuracy_a_network_that_guesses_is_a_rival_like_any_other(guessing):
    found = verdict_of(guessing)
    assert found.kind == "better"
    assert "guessing" not in found.sentence


def test_a_search_by_calibration_is_cautioned_of_a_network_that_guesses(tmp_path):
    builder = SweepBuilder(tmp_path, provenance={"dataset": {"name": "parquet", "classes": list("abcdefghij")}})
    builder.trial("l1", 0, [0.1])
    builder.trial("focal", 0, [0.6], **GAMMA)
    builder.done()
    assert summarize(str(tmp_path), metric="ece").sweeps[0].warnings[0].startswith("l1 classifies no better than guessing (accuracy 10.0 %")


@pytest.mark.parametrize("n_seeds", [2, 3, 5, 8])
def test_an_arm_without_hope_is_not_lumped_with_those_that_cannot_be_told_apart(tmp_path, n_seeds):
    near = [value + shift for value, shift in zip(ENTROPY, itertools.cycle([0.04, -0.04]))]
    builder = searched(tmp_path, space=SPACE.replace("seeds: 8", f"seeds: {n_seeds}"))
    confirm(builder, "l1", [0.11, 0.10, 0.105, 0.10, 0.10, 0.11, 0.12, 0.10][:n_seeds])
    confirm(builder, "cross_entropy", [0.4 + value / 5 for value in ENTROPY][:n_seeds])
    confirm(builder, "focal", [0.4 + value / 5 for value in near][:n_seeds], **GAMMA)
    builder.done()
    found = verdict_of(tmp_path)
    assert found.kind == "undecided"
    assert {found.best, *found.rivals} == {"cross_entropy", "focal"}
    assert "; l1 is behind. One search" in found.sentence


def test_a_constant_lead_has_no_power(tmp_path):
    builder = two_arms(tmp_path)
    values = [0.50, 0.51, 0.60, 0.52, 0.49, 0.30, 0.21, 0.13]  # adding 0.02 to them does not round alike
    confirm(builder, "cross_entropy", values)
    confirm(builder, "focal", [value + 0.02 for value in values], **GAMMA)
    builder.done()
    comparison = summarize(str(tmp_path)).sweeps[0].comparison
    assert (comparison.arms[1].contrast.difference.sd, comparison.power) == (0.0, ())
    assert "Power" not in report(str(tmp_path))


def test_power_is_told_of_the_paired_seeds_and_as_a_range(tmp_path):
    builder = two_arms(tmp_path)
    confirm(builder, "cross_entropy", [RuntimeError("gone"), *ENTROPY[1:]])
    confirm(builder, "focal", [*FOCAL[:-1], RuntimeError("gone")], **GAMMA)
    builder.done()
    comparison = summarize(str(tmp_path)).sweeps[0].comparison
    assert [arm.confirmed for arm in comparison.arms] == [7, 7]
    assert len(comparison.arms[1].common_seeds) == comparison.arms[1].contrast.difference.n == 6
    assert all(each.low <= each.power <= each.high for each in comparison.power)
    assert "Power, about: with 6 paired seeds" in report(str(tmp_path))


def test_logits_that_are_missing_are_told(tmp_path):
    builder = two_arms(tmp_path)
    builder.confirm_with_logits("cross_entropy", range(100, 103), 2.0)
    builder.confirm_with_logits("focal", range(100, 103), 2.2, **GAMMA)
    folder = SweepFolder(str(builder.done()))
    assert not any("logits" in warning for warning in summarize(str(tmp_path)).sweeps[0].warnings)
    (lost,) = (path for path in (folder.local_folder / "predictions").rglob("*.parquet") if "focal-confirm-1" in str(path))
    lost.unlink()
    assert (
        "focal: the logits of 1 complete confirm trial of 3 are missing: accuracy per class is without them"
        in summarize(str(tmp_path)).sweeps[0].warnings
    )


@pytest.mark.parametrize("bound", [0.01, 100.0])
def test_a_temperature_at_a_bound_is_no_figure_to_take_a_mean_of(tmp_path, bound):
    builder = two_arms(tmp_path)
    confirm(builder, "cross_entropy", ENTROPY)
    builder.trial_rows[-1]["temperature"] = bound
    confirm(builder, "focal", FOCAL, **GAMMA)
    builder.done()
    summary = summarize(str(tmp_path)).sweeps[0]
    arms = {arm.arm: arm.measures for arm in summary.comparison.arms}
    assert "temperature" not in arms["cross_entropy"]
    assert arms["focal"]["temperature"].mean == 1.25
    assert (
        "cross_entropy: the temperature of 1 confirm trial of 8 lies at a bound of its fit (0.01 or 100), so that no mean T is given"
        in summary.warnings
    )


def test_trials_that_repeat_failed_ones_are_planned_too(tmp_path):
    builder = two_arms(tmp_path)
    builder.trial("focal", 4, [0.1], state=TrialState.FAILED, error="ValueError: no", **GAMMA)
    builder.trial("focal", 5, [0.3], state=TrialState.PRUNED, **GAMMA)
    builder.done()
    summary = summarize(str(tmp_path)).sweeps[0]
    assert [(arm.search.planned, arm.search.ends.finished) for arm in summary.arms] == [(4, 4), (6, 6)]
    assert (summary.finished_trials, summary.planned_trials) == (10, 10 + 2 * 8)


def test_confirm_trials_whose_loop_returned_other_figures_than_the_compared_one_confirm_nothing(tmp_path):
    builder = two_arms(tmp_path)
    for arm, extra in (("cross_entropy", {}), ("focal", GAMMA)):
        for number in range(8):
            test = TestMetrics(test_nll=1.0)
            builder.trial(arm, number, [0.5], phase=Phase.CONFIRM, seed=100 + number, test=test, **extra)
    builder.done()
    found = verdict_of(tmp_path)
    assert (found.kind, found.sentence) == (
        "unconfirmed",
        (
            "Nothing is confirmed: no confirm trial has a test_accuracy; in the search cross_entropy has the best validation accuracy, "
            "55.0 %, with one seed."
        ),
    )
