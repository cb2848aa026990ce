"""What fewer trials would have found: curves from the rows, the arm that is ahead, and from how many trials on."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from sweeps import SweepBuilder, _test_metrics, searched

from sweeper.records import TrialState
from sweeper.report import report
from sweeper.report.budget import leader
from sweeper.report.charts import draw_charts
from sweeper.report.measure import find_measure
from sweeper.report.summarize import read_and_summarize
from sweeper.report.summary import Verdict
from sweeper.view.sweeps import view_sweep

SPACE = """
name: budget
dataset: {name: parquet, data_dir: images, validation: 50}
training: {epochs: 4}
parameters:
  loss: {choices: [l1, cross_entropy]}
  learning_rate: {low: 1e-4, high: 1.0, log: true}
compare: {arms: loss, searches: SEARCHES, trials_per_arm: TRIALS, seeds: 2}
search: {pruner: {name: successive_halving, min_resource: 1, reduction_factor: 2}}
seed: 1
"""
EXAMPLE = Path(__file__).parents[2] / "results"
UNCONFIRMED = Verdict("unconfirmed", "")


def builder(results, searches=5, trials=8):
    return SweepBuilder(results, "budget-1", SPACE.replace("SEARCHES", str(searches)).replace("TRIALS", str(trials)))


def summary_of(results, metric=None):
    ((_, summary),) = read_and_summarize(str(results), "arm", metric, None)
    return summary


def written_at_random(results, searches=5, trials=8, ahead=0.0, first=0):
    """A sweep whose trials end in every way; what they are as plain data: arm, search and number to state, validation and test accuracy."""
    build, rng, known = builder(results, searches, trials), np.random.default_rng(3), {}
    for arm in ("l1", "cross_entropy"):
        for search in range(1, searches + 1):
            for number in range(trials):
                state = TrialState.COMPLETE if number == first else TrialState(rng.choice(["complete", "complete", "pruned", "diverged"]))
                value = float(rng.integers(40, 50)) / 100  # ties are frequent
                test = value + float(rng.normal(0, 0.01)) + (ahead if arm == "cross_entropy" else 0.0)
                is_complete = state is TrialState.COMPLETE
                curve = [0.1, 0.2, 0.3, value] if is_complete else [0.1, value]
                build.trial(arm, number, curve, state=state, search=search, test=_test_metrics(test) if is_complete else None)
                known[arm, search, number] = (state, value, test, len(curve))
    return build, known


def confirm(build, better, searches=5):
    for search in range(1, searches + 1):
        for arm, at in (("l1", 0.3), ("cross_entropy", better)):
            build.confirm(arm, [at + search / 1000, at + search / 900], search=search)


@pytest.mark.parametrize("metric", ["accuracy", "nll", "brier_scaled"])
def test_a_curve_is_the_test_figure_of_the_best_complete_trial_so_far_by_validation(tmp_path, metric):
    build, known = written_at_random(tmp_path)
    build.done()
    budget = summary_of(tmp_path, metric).budget
    assert {(curve.arm, curve.search) for curve in budget.curves} == {(arm, search) for arm, search, _ in known}
    assert budget.n_trials == 8
    for curve in budget.curves:
        for n in range(1, 9):
            rows = [known[curve.arm, curve.search, number] for number in range(n)]
            best = max(row[1] for row in rows if row[0] is TrialState.COMPLETE)
            number, row = next((number, row) for number, row in enumerate(rows) if row[0] is TrialState.COMPLETE and row[1] == best)
            figure = getattr(_test_metrics(row[2]), find_measure(metric).test_column)
            assert curve.values[n - 1] == pytest.approx(figure, abs=1e-12)
            assert curve.picks[n - 1].endswith(f"-{number}")
            assert curve.epochs[n - 1] == sum(row[3] for row in rows)
    for at in budget.at:
        for arm, span in at.spans.items():
            figures = sorted(curve.values[at.n - 1] for curve in budget.curves if curve.arm == arm)
            assert span == pytest.approx((figures[2], figures[0], figures[4]))
        assert at.epochs == pytest.approx(np.mean([curve.epochs[at.n - 1] for curve in budget.curves]))


def test_of_equal_trials_the_first_stays_the_pick_and_one_whose_test_figure_is_worse_replaces_a_worse_one(tmp_path):
    build = builder(tmp_path, searches=1, trials=3)
    for number, (value, test) in enumerate([(0.5, 0.60), (0.5, 0.70), (0.6, 0.40)]):
        build.trial("l1", number, [value], test=_test_metrics(test))
    build.done()
    (curve, nothing) = summary_of(tmp_path).budget.curves
    assert curve.picks == ("l1-0", "l1-0", "l1-2")
    assert curve.values == (0.60, 0.60, 0.40)
    assert (nothing.picks, nothing.values, nothing.epochs) == ((), (), ())


def test_before_a_trial_is_complete_a_figure_is_missing_and_nobody_is_ahead(tmp_path):
    build, _ = written_at_random(tmp_path, ahead=0.3, first=0)
    rows = {row["number"]: row for row in build.trial_rows if (row["arm"], row["search"]) == ("l1", 2)}
    for number in (0, 1):
        rows[number] |= {"state": "pruned", "value": None} | {name: None for name in rows[number] if name.startswith("test_")}
    rows[2] |= {"state": "complete", "value": 0.45, "last_val_accuracy": 0.45, "test_accuracy": 0.45}
    confirm(build, 0.6)
    build.done()
    budget = summary_of(tmp_path).budget
    assert next(curve for curve in budget.curves if (curve.arm, curve.search) == ("l1", 2)).values[:3] == (None, None, 0.45)
    assert [at.spans["l1"] is None for at in budget.at] == [True, True] + 6 * [False]
    assert (budget.ahead, budget.ahead_from) == ("cross_entropy", 3)
    assert budget.sentence == "cross_entropy is ahead from 3 trials on; undecided below."
    assert "–" in next(line for line in report(str(tmp_path)).splitlines() if line.startswith("1   "))


def test_failed_trials_are_not_counted_whether_they_were_repeated_or_not(tmp_path):
    build = builder(tmp_path, searches=1, trials=3)
    build.trial("l1", 0, [0.2], test=_test_metrics(0.2))
    build.trial("l1", 1, [0.1], state=TrialState.FAILED, error="ValueError: no")
    build.trial("l1", 2, [0.3], test=_test_metrics(0.3))
    build.trial("l1", 3, [0.4], test=_test_metrics(0.4))
    build.done()
    curve = summary_of(tmp_path).budget.curves[0]
    assert curve.picks == ("l1-0", "l1-2", "l1-3")
    assert curve.epochs == (1, 3, 4)  # the failed one took its epoch


def curves(*gaps, searches=5, arms=("a", "b")):
    """Curves of two arms that are so far apart after each number of trials, in units of their spread."""
    spread = np.arange(searches)[:, None] / 100
    return {arms[0]: 0.5 + spread + np.array(gaps) / 100, arms[1]: 0.5 + spread + 0.0 * np.array(gaps) + 0.0003}


@pytest.mark.parametrize(
    ("gaps", "expected"),
    [
        ([0, 0, 9, 9, 9], ("a", 3)),
        ([9, 9, 9, 9, 9], ("a", 1)),
        ([9, 9, 0, 9, 9], ("a", 4)),  # before the first failure from above nothing is said
        ([9, 9, 9, 9, 0], (None, None)),
        ([0, 0, 0, 0, 9], ("a", 5)),
        ([-9, -9, 9, 9, 9], ("a", 3)),
        ([9, 9, -9, -9, -9], ("b", 3)),  # the best is the best with all trials
        ([math.nan, 9, 9, 9, 9], ("a", 2)),
    ],
)
def test_an_arm_is_ahead_down_to_the_first_number_of_trials_that_does_not_show_it(gaps, expected):
    assert leader(curves(*gaps), find_measure("accuracy"), UNCONFIRMED) == expected
    by_loss = {arm: 1 - found for arm, found in curves(*gaps).items()}
    assert leader(by_loss, find_measure("nll"), UNCONFIRMED) == expected


def test_every_rival_has_to_be_beaten():
    two = curves(9, 9, 9, 9)
    other = curves(0, 9, 9, 9, arms=("a", "c"))["a"] - 0.09  # of c: as good as a until 2
    assert leader(two | {"c": other[:, ::-1].copy()}, find_measure("accuracy"), UNCONFIRMED)[1] == 1
    near = two["a"].copy() + 0.0003
    near[:, 2:] -= 0.09
    assert leader(two | {"c": near}, find_measure("accuracy"), UNCONFIRMED) == ("a", 3)


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        (Verdict("better", "", "a"), ("a", 2)),
        (Verdict("better", "", "b"), (None, None)),
        (Verdict("undecided", "", "a"), (None, None)),
        (Verdict("equal", "", "a"), (None, None)),
        (UNCONFIRMED, ("a", 2)),
    ],
)
def test_the_verdict_is_the_first_test(verdict, expected):
    assert leader(curves(0, 9, 9), find_measure("accuracy"), verdict) == expected


def test_three_searches_show_nothing_at_any_number_of_trials():
    assert leader(curves(9, 9, 9, searches=3), find_measure("accuracy"), UNCONFIRMED) == (None, None)


def test_between_equal_arms_a_lead_at_any_number_of_trials_is_claimed_in_one_of_twenty_sweeps_at_most():
    rng, claims, n = np.random.default_rng(5), 0, 400
    for _ in range(n):
        figures = {arm: np.maximum.accumulate(rng.normal(size=(5, 6)), axis=1) for arm in "ab"}
        claims += leader(figures, find_measure("accuracy"), UNCONFIRMED)[1] is not None
    assert 0 < claims <= 0.05 * n + 2 * math.sqrt(0.05 * 0.95 * n)


def test_a_report_says_it_after_the_verdict_in_a_table_as_json_and_as_csv(tmp_path):
    build, _ = written_at_random(tmp_path, ahead=0.3)
    confirm(build, 0.6)
    build.done()
    summary = summary_of(tmp_path)
    assert summary.verdict.kind == "better"
    text = report(str(tmp_path))
    sentence = "cross_entropy is ahead at every number of trials."
    assert summary.budget.sentence == sentence
    assert text.index(summary.verdict.sentence[:40]) < text.index(sentence) < text.index("Comparison on the test split")
    section = text[text.index("By number of trials: test accuracy of the pick") :]
    rows = [line for line in section.splitlines() if line.split()[:1] in (["1"], ["2"], ["4"], ["8"])]
    assert [row.split()[-1] for row in rows[:4]] == 4 * ["yes"]
    (found,) = json.loads(report(str(tmp_path), format="json"))["sweeps"]
    assert [len(curve["values"]) for curve in found["budget"]["curves"]] == 10 * [8]
    header, *lines = report(str(tmp_path), format="csv").splitlines()
    at = header.split(",").index("ahead_from_trials")
    assert len(lines) == 2
    assert at


def test_one_search_has_curves_and_no_claim(tmp_path):
    build, _ = written_at_random(tmp_path, searches=1, ahead=0.3)
    build.done()
    budget = summary_of(tmp_path).budget
    assert (budget.sentence, budget.ahead) == (None, None)
    assert "One search of each arm: nothing is claimed." in report(str(tmp_path)).replace("\n", " ")


def test_of_single_trials_there_is_no_smaller_number_to_tell_of(tmp_path):
    build, _ = written_at_random(tmp_path, trials=1, ahead=0.3)
    build.done()
    assert summary_of(tmp_path).budget is None


def test_while_a_search_has_trials_to_come_nothing_is_claimed(tmp_path):
    build, _ = written_at_random(tmp_path, ahead=0.3)
    build.trial_rows.pop()
    confirm(build, 0.6)
    build.done()
    budget = summary_of(tmp_path).budget
    assert budget.curves
    assert budget.sentence is None


def test_sweeps_whose_searches_never_read_the_test_split_show_nothing(tmp_path, earlier_sweep):
    searched(tmp_path / "new").done()
    for folder in (tmp_path / "new", earlier_sweep("finished")):
        assert summary_of(folder).budget is None
        assert "By number of trials" not in report(str(folder))


def test_test_figures_of_a_search_are_never_taken_for_confirmed_ones(tmp_path):
    build, _ = written_at_random(tmp_path)
    folder = build.done()
    summary = summary_of(tmp_path)
    assert summary.comparison is None
    assert summary.verdict.kind in ("unfinished", "unconfirmed")
    assert all(arm.test_accuracy is None for arm in view_sweep(folder).arms)


def test_an_arm_far_from_the_others_is_in_the_table_alone():
    ((stored, summary),) = read_and_summarize(str(EXAMPLE), "arm", None, None)
    (chart,) = [chart for chart in draw_charts(stored, summary) if chart.name == "budget"]
    assert {each["arm"] for each in chart.spec["data"]["values"]} == {"cross_entropy", "focal"}
    assert chart.description.endswith(" Off this scale: l1.")
    assert [heading.split()[0] for heading in chart.table.headings] == ["trials", "l1", "cross_entropy", "focal"]


def test_the_chart_shows_every_search_and_the_median_and_range_of_each_arm(tmp_path):
    build, _ = written_at_random(tmp_path)
    build.done()
    ((stored, summary),) = read_and_summarize(str(tmp_path), "arm", None, None)
    (chart,) = [chart for chart in draw_charts(stored, summary) if chart.name == "budget"]
    values, budget = chart.spec["data"]["values"], summary.budget
    assert len(values) < 10 * 8  # only where something changes
    for curve in budget.curves:
        drawn = {each["trials"]: each for each in values if (each["arm"], each.get("search")) == (curve.arm, curve.search)}
        assert max(drawn) == 8
        for n, (value, pick) in enumerate(zip(curve.values, curve.picks, strict=True), start=1):
            last = drawn[max(at for at in drawn if at <= n)]
            assert (last["value"], last["pick"]) == (pytest.approx(value, rel=1e-5), pick)
    for arm in ("l1", "cross_entropy"):
        drawn = {each["trials"]: each for each in values if (each["arm"], each["role"]) == (arm, "median")}
        for at in budget.at:
            last = drawn[max(n for n in drawn if n <= at.n)]
            assert (last["median"], last["low"], last["high"]) == pytest.approx(at.spans[arm], rel=1e-5)
    assert len(chart.table.rows) == 8
