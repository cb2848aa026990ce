"""The cautions beside a verdict over searches: one sentence each, with numbers, of all arms together where that can be."""

import numpy as np
import pytest
from sweeps import SPACE, SweepBuilder
from test_report_searches import AHEAD, BEHIND, summary_of

from sweeper.records import TrialState
from sweeper.report.summarize import summarize
from sweeper.space import contained, parse_space

RATE = "  learning_rate: {low: 1e-4, high: 1.0, log: true}\n"


def warnings_of(results, figures, **options):
    return summary_of(results, figures, **options).warnings


def test_few_complete_trials_and_unequal_dimensions_are_told_once_for_all_arms(tmp_path):
    found = warnings_of(tmp_path, {"cross_entropy": AHEAD, "focal": BEHIND})
    assert (
        "in 5 of 5 searches of cross_entropy and 5 of 5 searches of focal fewer than 5 trials were complete: "
        "a pick out of so few is little tuned"
    ) in found
    assert (
        "the arms have unequal numbers of free parameters (cross_entropy 2, focal 3): as many trials search more of them less thoroughly"
        in found
    )
    assert "the space of focal contains that of cross_entropy (gamma 0): its best cannot be worse, only harder to find" in found
    assert not any("last quarter" in text or "epochs" in text or "collapsed" in text for text in found)


def test_a_pick_of_the_last_quarter_is_told_where_it_is_more_than_chance(tmp_path):
    builder = SweepBuilder(tmp_path, space=SPACE.replace("searches: 1", "searches: 5").replace("seeds: 8", "seeds: 0"))
    for arm, late in (("l1", 1), ("cross_entropy", 2), ("focal", 5)):
        for search in range(1, 6):
            best = 3 if search <= late else 0
            for number in range(4):
                builder.trial(arm, number, [0.3, 0.4, 0.5, 0.6 if number == best else 0.5], search=search)
    builder.done()
    assert (
        "in 2 of 5 searches of cross_entropy and 5 of 5 searches of focal the best trial was among the last quarter: "
        "more trials may find better"
    ) in summarize(str(tmp_path)).sweeps[0].warnings


def test_unequal_epochs_are_told_from_a_tenth_on(tmp_path):
    for name, epochs, is_told in (("close", 4, False), ("apart", 1, True)):
        builder = SweepBuilder(tmp_path, name, space=SPACE.replace("seeds: 8", "seeds: 0"))
        for arm in ("l1", "cross_entropy", "focal"):
            for number in range(4):
                state = TrialState.PRUNED if arm == "l1" and number == 3 and epochs < 4 else TrialState.COMPLETE
                builder.trial(arm, number, [0.5] * (epochs if arm == "l1" and number == 3 else 4), state=state)
        builder.done()
        found = summarize(str(tmp_path), sweep=name).sweeps[0].warnings
        spent = "l1 13, cross_entropy 16, focal 16"
        text = f"the searches of the arms spent unequal numbers of epochs ({spent}): pruning spared some more than others"
        assert (text in found) is is_told


def test_a_confirm_trial_far_below_its_arms_median_has_collapsed(tmp_path):
    figures = [list(found) for found in BEHIND]
    figures[3][1] = 0.40
    found = warnings_of(tmp_path, {"cross_entropy": AHEAD, "focal": figures})
    assert "focal: 1 of 10 confirm trials collapsed (accuracy at chance, or more than 10 points below the arm's median)" in found


def test_an_arm_that_never_trains_has_not_collapsed(tmp_path):
    summary = summary_of(tmp_path, {"cross_entropy": AHEAD, "focal": (np.full((5, 2), 1 / 3) + np.arange(5)[:, None] / 1000).tolist()})
    assert [(arm.confirmed, arm.collapsed) for arm in summary.comparison.arms] == [(10, 0), (10, 0)]


def test_a_bound_is_told_with_the_number_of_searches_that_end_there(tmp_path):
    builder = SweepBuilder(tmp_path, space=SPACE.replace("searches: 1", "searches: 3").replace("seeds: 8", "seeds: 0"))
    for search, gamma in enumerate((0.0, 0.1, 2.0), start=1):
        builder.trial("focal", 0, [0.5], search=search, gamma=gamma)
    builder.done()
    assert "focal: the best gamma lies at the low bound 0 of its range in 2 of 3 searches; low is as far as it can go" in (
        summarize(str(tmp_path)).sweeps[0].warnings
    )


def test_an_arm_without_anything_to_tune_repeats_itself(tmp_path):
    fixed = "{name: fixed, loss: cross_entropy, learning_rate: 0.01, step_size: 5}"
    space = SPACE.replace("[l1, cross_entropy, focal]", f"[{fixed}, focal]").replace("searches: 1", "searches: 5")
    SweepBuilder(tmp_path, space=space).done()
    assert "fixed: nothing is tuned, so that all searches are one and the same and vary less than those of other arms" in (
        summarize(str(tmp_path)).sweeps[0].warnings
    )


@pytest.mark.parametrize(
    ("arms", "extra", "expected"),
    [
        ("[cross_entropy, focal]", "  gamma: {low: 0.0, high: 5.0, when: {loss: focal}}\n", " (gamma 0)"),
        ("[cross_entropy, focal]", "  gamma: {low: 0.5, high: 5.0, when: {loss: focal}}\n", None),
        ("[cross_entropy, label_smoothing]", "  smoothing: {choices: [0.0, 0.1], when: {loss: label_smoothing}}\n", " (smoothing 0)"),
        ("[cross_entropy, label_smoothing]", "  smoothing: {value: 0.1, when: {loss: label_smoothing}}\n", None),
        ("[{name: one, loss: mse, momentum: 0.9}, {name: two, loss: mse, momentum: {low: 0.5, high: 0.95}}]", "", ""),
        ("[mse, mae]", "", None),
    ],
)
def test_a_space_contains_another_where_it_can_be_all_that_the_other_is(arms, extra, expected):
    compare = "compare: {arms: loss, trials_per_arm: 2}\n"
    space = parse_space(
        f"name: x\ndataset: {{name: synthetic}}\nparameters:\n  loss: {{choices: {arms}}}\n{RATE}{extra}{compare}",
        "x.yaml",
    )
    first, second = space.arms
    assert contained(space, second, first) == expected
    assert contained(space, first, second) is None


def test_what_is_planned_and_saved_adds_up_over_searches(tmp_path):
    summary = summary_of(tmp_path, {"cross_entropy": AHEAD, "focal": BEHIND})
    for arm in summary.arms:
        assert arm.search.planned == sum(each.search.planned for each in arm.searches) == 20
        assert arm.search.epochs == sum(each.search.epochs for each in arm.searches)
        assert arm.search.saved == pytest.approx(np.mean([each.search.saved for each in arm.searches]))


@pytest.mark.parametrize(("n_rival", "is_told"), [(1, True), (2, False), (3, False)])
def test_too_few_searches_are_told_by_the_smallest_p_that_they_can_reach(tmp_path, n_rival, is_told):
    found = warnings_of(tmp_path, {"cross_entropy": AHEAD, "focal": [*BEHIND[:n_rival], *[None] * (5 - n_rival)]})
    text = f"{n_rival} to 5 searches of each arm cannot reach p = 0.05: at least 4 are needed (compare.searches)"
    assert (text in found) is is_told
