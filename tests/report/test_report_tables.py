"""What people read: whole texts, the same figures in every format, nothing from a file that a terminal or a page would act on."""

import csv
import io
import json
import random
import re
from itertools import chain, pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import special, stats
from sweeps import REFERENCE_SPACE, SPACE, SweepBuilder, searched

from sweeper.records import Phase, TrialState
from sweeper.report import FORMATS, report
from sweeper.report.document import Grid
from sweeper.report.layout import lay_out
from sweeper.report.measure import ReportError
from sweeper.report.summarize import summarize
from sweeper.space import parse_space

SEARCHED = """\
focal-20260102-030405
=====================
No verdict yet: 0 of 24 confirm trials are finished; in the search focal has the
best validation accuracy, 58.0 %.
parquet; up to 4 epochs a trial; 12 of 36 trials finished; 2 cores of Xeon;
started 2026-01-02T03:04:05+00:00.

Searches: the pick of each, its accuracy on validation and on test
------------------------------------------------------------------
arm           search pick            validation % test % seeds complete epochs
──────────────────────────────────────────────────────────────────────────────
l1                 1 l1-0                    25.0      –     0        1      7
cross_entropy      1 cross_entropy-1         57.4      –     0        2     11
focal              1 focal-0                 58.0      –     0        2     11

Where the budget went: search
-----------------------------
arm           planned complete pruned failed diverged epochs seconds saved %
────────────────────────────────────────────────────────────────────────────
l1                  4        1      2      1        0      7      18    31.2
cross_entropy       4        2      1      0        1     11      28    18.8
focal               4        2      2      0        0     11      28    31.2

Where the budget went: confirm
------------------------------
arm           planned complete pruned failed diverged epochs seconds saved %
────────────────────────────────────────────────────────────────────────────
l1                  8        0      0      0        0      0     0.0       –
cross_entropy       8        0      0      0        0      0     0.0       –
focal               8        0      0      0        0      0     0.0       –

Best configurations
-------------------
parameters:
  loss:
    choices:
    - name: l1
      loss: l1
      learning_rate: 0.9
      step_size: 5
      step_gamma: 0.5
      momentum: 0.9
      batch_size: 128
    - name: cross_entropy
      loss: cross_entropy
      learning_rate: 0.0123456789
      step_size: 5
      step_gamma: 0.5
      momentum: 0.9
      batch_size: 128
    - name: focal
      loss: focal
      learning_rate: 0.03
      step_size: 5
      step_gamma: 0.5
      momentum: 0.9
      batch_size: 128
      gamma: 0.1

Warnings
--------
! the searches of the arms spent unequal numbers of epochs (l1 7, cross_entropy
  11, focal 11): pruning spared some more than others
! l1: 1 search trial failed: 'RuntimeError: no kernel image'
! cross_entropy: 1 search trial diverged (a loss was no longer finite)
! in the search of l1, cross_entropy and focal fewer than 5 trials were
  complete: a pick out of so few is little tuned
! the arms have unequal numbers of free parameters (l1 2, cross_entropy 2, focal
  3): as many trials search more of them less thoroughly
! the space of focal contains that of cross_entropy (gamma 0): its best cannot
  be worse, only harder to find
! l1: the best learning_rate, 0.9, lies at the high bound 1 of its range; widen
  high to be sure
! focal: the best gamma, 0.1, lies at the low bound 0 of its range; low is as
  far as it can go
"""

COMPARED = """\
focal-20260102-030405
=====================
The configuration found for focal beats the one found for cross_entropy by 1.16
points [0.84, 1.48] (p = 0.008, 8 paired seeds), and the one found for l1 by
28.21 points [27.07, 29.35] (p = 0.008, 8 paired seeds). One search per loss:
another search may reverse this; `compare.searches: 5` asks about the losses.
parquet; up to 4 epochs a trial; 36 of 36 trials finished; 2 cores of Xeon;
started 2026-01-02T03:04:05+00:00.

focal          56.9 ··························●·●[·●·●··●◆·●·····]···●····● 59.0
cross_entropy  56.9 ●··[·●·◆●·●·]●·●······································· 59.0
l1             ← 30.1 [29.1, 31.2]
● one seed, ◆ mean, [ ] its 95 % interval

Comparison on the test split: accuracy, 8 fresh seeds
-----------------------------------------------------
arm                   accuracy %          to best, points     P      p  outcome
───────────────────────────────────────────────────────────────────────────────
focal          58.3 [58.0, 58.7]                        –     –      –  –
cross_entropy  57.2 [57.0, 57.4]     -1.16 [-1.48, -0.84]  1.00  0.008  worse
l1             30.1 [29.1, 31.2]  -28.21 [-29.35, -27.07]  1.00  0.008  worse
Mean over seeds [95 % t interval: new seeds, same test images]. To best: paired
by seed [95 % t interval]. P: share of seeds in which the best is better, ties
half. p: two-sided permutation by sign flips, all 256. Worse: p <= 0.05 and the
interval excludes 0; else equal: the 90 % interval lies within ± 0.5 points.
Power, about: with 8 paired seeds whose differences vary by 0.38 points [0.25,
0.78] (sd), a true difference of 0.5 / 1 / 2 points is found with probability
0.88 [0.34, 1.00] / 1.00 [0.87, 1.00] / 1.00 [1.00, 1.00].
No confirm trial collapsed, in 8 or more of each arm: a rate of up to 31.2 % can
go unseen in 8 (at 95 %).
"""


def test_the_table_of_a_search(finished_search):
    assert report(str(finished_search)) == SEARCHED


def test_the_verdict_and_the_comparison_come_first(confirmed):
    assert report(str(confirmed)).startswith(COMPARED)


def test_a_search_without_confirm_says_that_it_carries_no_claim(tmp_path):
    searched(tmp_path, space=SPACE.replace("seeds: 8", "seeds: 0")).done()
    text = " ".join(report(str(tmp_path)).split())
    expected = (
        "Nothing is confirmed: focal has the best validation accuracy, 58.0 %, in one trial with one seed. That is no basis for a claim."
    )
    assert expected in text


def test_no_line_is_wider_than_a_terminal(confirmed):
    assert max(map(len, report(str(confirmed), by="learning_rate").splitlines())) <= 80


def grids_of(document):
    return [block for block in document if isinstance(block, Grid)]


def parsed_markdown(text):
    """Cells of the body rows of every table of a Markdown text."""
    tables, rows = [], []
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            rows.append([cell.strip().replace("\\", "") for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
        elif rows:
            tables.append(rows[2:])
            rows = []
    return tables


def parsed_latex(text):
    tables = re.findall(r"\\midrule\n(.*?)\\bottomrule", text, flags=re.DOTALL)
    return [
        [
            [cell.strip().replace("--", "–").replace("\\", "") for cell in line.strip().removesuffix("\\\\").split(" & ")]
            for line in body.strip().splitlines()
        ]
        for body in tables
    ]


@pytest.mark.parametrize("by", ["arm", "gamma"])
def test_every_format_for_people_has_the_same_cells(confirmed, by):
    grids = grids_of(lay_out(summarize(str(confirmed), by=by)))
    cells = [[[cell.text for cell in row] for row in grid.rows] for grid in grids]
    assert parsed_markdown(report(str(confirmed), format="markdown", by=by)) == cells
    assert parsed_latex(report(str(confirmed), format="latex", by=by)) == cells
    table = report(str(confirmed), by=by).splitlines()
    for row in chain(*cells):
        assert any(re.split(r" {1,}", line.strip()) == re.split(r" {1,}", " ".join(row)) for line in table), row


def test_the_rounded_figures_are_those_of_json_and_csv(confirmed):
    found = json.loads(report(str(confirmed), format="json"))["sweeps"][0]
    rows = {row["arm"]: row for row in csv.DictReader(io.StringIO(report(str(confirmed), format="csv")))}
    shown = {row[0]: row for row in parsed_markdown(report(str(confirmed), format="markdown"))[0]}
    assert list(shown) == ["focal", "cross_entropy", "l1"]
    for arm in found["comparison"]["arms"]:
        accuracy, contrast, row = arm["measures"]["test_accuracy"], arm["contrast"], rows[arm["arm"]]
        cells = shown[arm["arm"]]
        assert cells[1] == f"{100 * accuracy['mean']:.1f} [{100 * accuracy['low']:.1f}, {100 * accuracy['high']:.1f}]"
        assert float(row["test_accuracy_mean"]) == accuracy["mean"]
        assert float(row["test_nll_scaled_high"]) == arm["measures"]["test_nll_scaled"]["high"]
        if contrast is not None:
            gap = contrast["difference"]
            assert cells[2] == f"{100 * gap['mean']:+.2f} [{100 * gap['low']:+.2f}, {100 * gap['high']:+.2f}]"
            assert cells[3:] == [
                f"{contrast['p_best_wins']:.2f}",
                f"{contrast['p_value']:.3f}",
                contrast["outcome"].replace("better", "worse"),
            ]
            assert float(row["difference_low"]) == gap["low"]
            assert float(row["p_value"]) == contrast["p_value"]
            assert row["outcome"] == contrast["outcome"]
    assert rows["focal"]["verdict_sentence"] == found["verdict"]["sentence"]


def test_the_best_configurations_can_be_pasted_into_a_space(confirmed):
    markdown = report(str(confirmed), format="markdown")
    pasted = re.search(r"```yaml\n(.*?)\n```", markdown, flags=re.DOTALL).group(1)
    rest = {"name": "again", "dataset": {"name": "synthetic"}, "compare": {"arms": "loss", "trials_per_arm": 1, "seeds": 8}}
    space = parse_space(yaml.safe_dump(rest) + pasted + "\n", "pasted.yaml")
    assert [arm.name for arm in space.arms] == ["l1", "cross_entropy", "focal"]
    assert space.arms[2].settings["gamma"] == 0.1
    assert space.arms[1].settings["learning_rate"] == 0.0123456789


def test_numbers_are_grouped_by_quartiles_and_arms(finished_search):
    groups = summarize(str(finished_search), by="learning_rate").sweeps[0].groups
    edges = list(dict.fromkeys((group.low, group.high) for group in groups))
    assert edges[0][0] == 0.0004
    assert edges[-1][1] == 0.9
    assert all(before[1] == after[0] for before, after in pairwise(edges))
    assert sum(group.ends.finished for group in groups) == 12
    best = max((group for group in groups if group.best), key=lambda group: group.best)
    assert (best.arm, best.best, best.best_trial) == ("focal", 0.58, "focal-0")


def test_few_values_are_groups_of_their_own_and_trials_without_the_parameter_one_more(finished_search):
    groups = summarize(str(finished_search), by="gamma").sweeps[0].groups
    assert [(group.label, group.arm) for group in groups] == [
        ("0.1", "focal"),
        ("2", "focal"),
        ("3", "focal"),
        ("4.5", "focal"),
        ("without", "l1"),
        ("without", "cross_entropy"),
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"by": "gama"}, "--by: unknown grouping 'gama'; did you mean 'gamma'?"),
        ({"metric": "val_acuracy"}, "--metric: unknown metric 'val_acuracy'; did you mean 'val_accuracy'?"),
        ({"format": "htm"}, "--format: unknown format 'htm'; did you mean 'html'?"),
        ({"sweep": "focal-20260102-03040"}, "did you mean 'focal-20260102-030405'?"),
    ],
)
def test_a_wrong_name_is_refused_with_the_nearest(finished_search, arguments, message):
    with pytest.raises(ReportError) as caught:
        report(str(finished_search), **arguments)
    assert message in str(caught.value)


def test_another_metric_ranks_by_it_and_says_that_it_did_not_choose(confirmed):
    text = report(str(confirmed), metric="test_nll_scaled")
    text = " ".join(text.split())
    assert "The configuration found for focal beats the one found for cross_entropy by 0.012 [0.008, 0.015] (p = 0.008, 8 paired" in text
    assert "NLL after temperature scaling" in text
    assert "the configurations compared were chosen by val_accuracy, not by val_nll" in text


def test_several_sweeps_are_listed_and_one_can_be_chosen(tmp_path):
    searched(tmp_path, "first").done()
    SweepBuilder(tmp_path, "second").done()
    both = report(str(tmp_path))
    assert both.startswith("2 sweeps\n========\n")
    assert re.search(r"^first +parquet +12 of 36 +unfinished +focal$", both, flags=re.MULTILINE)
    assert re.search(r"^second +parquet +0 of 36 +nothing +–$", both, flags=re.MULTILINE)
    assert report(str(tmp_path), sweep="second") == report(str(tmp_path / "second"))


def test_ours_stand_beside_published_figures(tmp_path):
    builder = SweepBuilder(tmp_path, space=REFERENCE_SPACE)
    builder.trial("l1", 0, [0.1, 0.1003], learning_rate=0.1)
    builder.trial("focal_2", 0, [0.3, 0.5758], loss="focal", gamma=2.0, learning_rate=0.1)
    builder.done()
    text = report(str(tmp_path))
    assert re.search(r"^l1 +10\.0 +10\.0 +\+0\.02 +1$", text, flags=re.MULTILINE)
    assert re.search(r"^cross_entropy +– +55\.0 +– +0$", text, flags=re.MULTILINE)
    assert re.search(r"^focal_2 +57\.6 +58\.1 +-0\.50 +1$", text, flags=re.MULTILINE)
    assert "Published: the notebook." in text
    assert "measured on the test split" in text
    assert "the losses are not compared on equal terms" in " ".join(text.split())


HOSTILE = '\x1b[31m<script>alert(1)</script>|`*_[x](y)\\end{verbatim}\u202e\r\n"'


@pytest.mark.parametrize("format_", ["table", "markdown", "csv", "json", "latex"])
def test_nothing_from_a_file_acts_on_a_terminal(tmp_path, format_):
    builder = SweepBuilder(tmp_path, provenance={"started_at": HOSTILE, "hardware": {"cpu": HOSTILE, "cores": 2}})
    builder.trial("focal", 0, [], state=TrialState.FAILED, error=HOSTILE, gamma=1.0)
    builder.trial(HOSTILE, 1, [0.5], loss=HOSTILE)
    builder.confirm(HOSTILE, [0.5, 0.6], loss=HOSTILE)
    builder.done()
    text = report(str(tmp_path), format=format_)
    assert "alert" in text
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text)


def test_markdown_holds_no_html_from_a_file(tmp_path):
    builder = SweepBuilder(tmp_path)
    builder.trial(HOSTILE, 1, [0.5], loss=HOSTILE)
    builder.done()
    outside_code = re.sub(r"```.*?```", "", report(str(tmp_path), format="markdown"), flags=re.DOTALL)
    assert "&lt;script&gt;" in outside_code
    assert "<script>" not in outside_code


def test_a_torn_file_is_told_in_every_format(finished_search):
    (finished_search / "focal-20260102-030405" / "trials" / "part-000009-torn.parquet").write_bytes(b"PAR1 torn")
    for format_ in ("table", "markdown", "latex"):
        assert "trials/part-000009-torn.parquet: skipped" in report(str(finished_search), format=format_)
    found = json.loads(report(str(finished_search), format="json"))["sweeps"][0]
    assert found["skipped_files"] == 1
    assert "part-000009-torn.parquet: skipped" in found["warnings"][0]
    assert next(csv.DictReader(io.StringIO(report(str(finished_search), format="csv"))))["skipped_files"] == "1"


def test_a_space_that_cannot_be_read_any_more_still_gives_a_report(finished_search):
    (finished_search / "focal-20260102-030405" / "sweep.yaml").write_text("name: [broken\n")
    text = report(str(finished_search))
    assert "the space cannot be read, so nothing is known of what was planned" in text
    assert "57.4" in text
    assert "–" in text


def test_a_sweep_without_a_row_yet_says_so(tmp_path):
    SweepBuilder(tmp_path).done()
    assert "Nothing to say yet: 0 of 12 search trials are finished, and none is complete." in report(str(tmp_path))
    for format_ in ("markdown", "csv", "json", "latex"):
        assert report(str(tmp_path), format=format_)


def test_a_running_confirm_phase_gives_no_verdict(tmp_path):
    builder = searched(tmp_path)
    builder.confirm("focal", [0.58, 0.59], learning_rate=0.03, gamma=0.1)
    builder.confirm("cross_entropy", [0.55], learning_rate=0.0123456789)
    builder.done()
    assert summarize(str(tmp_path)).sweeps[0].verdict.sentence == (
        "No verdict yet: 3 of 24 confirm trials are finished; so far focal has 58.5 % [52.1, 64.9] test accuracy over 2 seeds."
    )


def test_too_few_seeds_never_make_a_winner(tmp_path):
    builder = searched(tmp_path, space=SPACE.replace("seeds: 8", "seeds: 3"))
    builder.confirm("l1", [0.3, 0.31, 0.32], learning_rate=0.9)
    builder.confirm("cross_entropy", [0.57, 0.571, 0.572], learning_rate=0.0123456789)
    builder.confirm("focal", [0.68, 0.69, 0.685], learning_rate=0.03, gamma=0.1)
    builder.done()
    found = summarize(str(tmp_path)).sweeps[0]
    assert found.verdict.kind == "undecided"
    assert found.verdict.rivals == ("cross_entropy", "l1")
    assert "; 3 paired seeds cannot show more: 6 are needed." in found.verdict.sentence
    assert "3 paired seeds cannot reach p = 0.05: at least 6 are needed (compare.seeds)" in found.warnings


def test_an_arm_that_diverges_on_a_seed_is_not_called_the_winner(tmp_path):
    builder = searched(tmp_path)
    builder.confirm("l1", [0.3] * 8, learning_rate=0.9)
    builder.confirm("cross_entropy", [0.57 + 0.001 * seed for seed in range(8)], learning_rate=0.0123456789)
    builder.confirm("focal", [0.68 + 0.001 * seed for seed in range(7)], learning_rate=0.03, gamma=0.1)
    builder.trial("focal", 7, [0.1], state=TrialState.DIVERGED, phase=Phase.CONFIRM, seed=107, learning_rate=0.03, gamma=0.1)
    builder.done()
    found = summarize(str(tmp_path)).sweeps[0]
    assert found.verdict.kind == "undecided"
    assert "; 1 of 8 confirm trials of focal diverged or failed." in found.verdict.sentence
    assert "focal: 1 confirm trial diverged; its means leave them out and are too good" in found.warnings


def test_every_figure_of_the_comparison_can_be_computed_again_from_the_files(tmp_path):
    builder = searched(tmp_path)
    for arm, skill in (("l1", 0.5), ("cross_entropy", 2.0), ("focal", 2.2)):
        builder.confirm_with_logits(arm, range(100, 108), skill, **({"gamma": 0.1} if arm == "focal" else {}))
    folder = Path(str(builder.done()))
    trials = pd.read_parquet(folder / "trials").query("phase == 'confirm' and state == 'complete'")
    predictions = pd.read_parquet(folder / "predictions").query("split == 'test'")
    accuracy = trials.pivot(index="seed", columns="arm", values="test_accuracy")
    best = accuracy.mean().idxmax()
    found = {arm["arm"]: arm for arm in json.loads(report(str(tmp_path), format="json"))["sweeps"][0]["comparison"]["arms"]}
    assert next(iter(found)) == best
    for arm, entry in found.items():
        logits = predictions[predictions["arm"] == arm]
        scores = logits.filter(like="logit_").to_numpy(dtype=np.float64)
        is_hit = scores.argmax(axis=1) == logits["label"]
        nll = special.logsumexp(scores, axis=1) - scores[np.arange(len(scores)), logits["label"]]
        assert entry["measures"]["test_accuracy"]["mean"] == pytest.approx(accuracy[arm].mean())
        assert entry["measures"]["test_accuracy"]["mean"] == pytest.approx(is_hit.mean())
        assert entry["measures"]["test_nll"]["mean"] == pytest.approx(nll.mean())
        recalls = is_hit.groupby(logits["label"]).mean()
        assert [found["mean"] for found in entry["per_class"].values()] == pytest.approx(recalls.tolist())
        assert [found["n_images"] for found in entry["per_class"].values()] == [100, 100, 100]
        if arm != best:
            gap = accuracy[arm] - accuracy[best]
            contrast = entry["contrast"]
            assert contrast["difference"]["mean"] == pytest.approx(gap.mean())
            assert contrast["p_best_wins"] == ((gap < 0) + 0.5 * (gap == 0)).mean()
            flips = stats.permutation_test((gap,), np.mean, permutation_type="samples")
            assert contrast["p_value"] == pytest.approx(flips.pvalue)
            assert (contrast["n_permutations"], contrast["freedom"]) == (256, 7)
            for names, level in ((("low", "high"), 0.95), (("equal_low", "equal_high"), 0.9)):
                stored = [(contrast["difference"] if "low" in names else contrast)[name] for name in names]
                assert stored == pytest.approx(stats.t.interval(level, 7, gap.mean(), stats.sem(gap)))
        by_image = is_hit.groupby(logits["image"]).mean()
        assert entry["image_error"] == pytest.approx(stats.sem(by_image))


@pytest.mark.parametrize("case", range(8))
def test_whatever_ends_the_trials_had_there_is_a_report_in_every_format(tmp_path, case):
    rng = random.Random(case)
    builder = SweepBuilder(tmp_path, space=SPACE.replace("seeds: 8", f"seeds: {rng.choice([0, 2, 8])}"))
    for arm in ("l1", "cross_entropy", "focal"):
        extra = {"gamma": rng.choice([0.0, 5.0])} if arm == "focal" else {}
        for number in range(rng.choice([0, 1, 4])):
            state = rng.choice(list(TrialState))
            n_epochs = rng.choice([0, 1, 4]) or (state is TrialState.COMPLETE)
            builder.trial(arm, number, [rng.random() for _ in range(n_epochs)], state=state, **extra)
        builder.confirm(arm, [rng.choice([0.1, 0.5, rng.random()]) for _ in range(rng.choice([0, 1, 2, 8]))], **extra)
    builder.done()
    for format_ in FORMATS:
        text = report(str(tmp_path), format=format_)
        assert format_ == "html" or "nan" not in text.lower()
    assert max(map(len, report(str(tmp_path)).splitlines())) <= 80
