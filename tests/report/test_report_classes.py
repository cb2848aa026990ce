"""Accuracy per class, and the metrics that sweeps of earlier versions do not store."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from sweeps import SPACE, SweepBuilder, searched

from sweeper import metrics
from sweeper.records import TRIAL_COLUMNS, Phase, Predictions
from sweeper.report import FORMATS, report
from sweeper.report.statistics import share_interval
from sweeper.report.summarize import summarize

EXAMPLE = Path(__file__).parents[2] / "results"
LATER = [metric for metric in metrics.METRICS.values() if metric.is_later]


def with_logits(folder, **options):
    builder = searched(folder, **options)
    for arm, skill in (("l1", 0.5), ("cross_entropy", 2.0), ("focal", 2.2)):
        builder.confirm_with_logits(arm, range(100, 108), skill, **({"gamma": 0.1} if arm == "focal" else {}))
    return builder


def per_class(results):
    return {arm.arm: arm.per_class for arm in summarize(str(results)).sweeps[0].comparison.arms}


def table_of(text):
    """The lines of the table below the heading, the sentence below it in one line."""
    part = text.partition("Accuracy per class, %\n")[2].partition("\n\n")[0].splitlines()
    return part[1:]


def test_the_table_has_each_class_with_its_images_and_an_interval_of_each_arm(tmp_path):
    with_logits(tmp_path).done()
    found = per_class(tmp_path)
    heading, _, *rows = table_of(report(str(tmp_path)))
    assert heading.split() == ["class", "images", *found]
    for name, row in zip(found["l1"], rows, strict=False):
        shown = [f"{100 * each.mean:.1f} [{100 * each.low:.1f}, {100 * each.high:.1f}]" for each in (arm[name] for arm in found.values())]
        assert row.split() == [name, "100", *" ".join(shown).split()]
    assert rows[3:] == ["Mean over seeds [95 % interval, Wilson's: new seeds, new test images]."]


def test_the_interval_is_that_of_the_hits_of_each_seed_on_each_image(tmp_path):
    folder = with_logits(tmp_path).done()
    predictions = folder.read_predictions().frame.query("split == 'test' and arm == 'focal'")
    right = predictions.filter(like="logit_").to_numpy().argmax(axis=1) == predictions["label"]
    predictions = predictions.assign(right=right.astype(float))
    for label, found in enumerate(per_class(tmp_path)["focal"].values()):
        shares = predictions.query(f"label == {label}").pivot(index="seed", columns="image", values="right")
        assert shares.shape == (8, found.n_images)
        assert (found.low, found.high) == pytest.approx(share_interval(shares.to_numpy()))
        assert found.low < found.mean < found.high


def test_a_search_counts_as_one_whatever_its_seeds(tmp_path):
    builder = SweepBuilder(tmp_path, space=SPACE.replace("searches: 1", "searches: 2").replace("seeds: 8", "seeds: 2"))
    rng, labels = np.random.default_rng(0), np.arange(60) % 3
    hits = rng.random((2, 2, 60)) < 0.7  # of two searches on two seeds
    for search in (1, 2):
        for number, seed in enumerate((100, 101)):
            config = builder.trial("l1", number, [0.5], phase=Phase.CONFIRM, seed=seed, test=None, search=search)
            logits = np.eye(3, dtype=np.float32)[np.where(hits[search - 1, number], labels, (labels + 1) % 3)]
            builder.folder.write_predictions(config, [Predictions("test", np.arange(60), labels, logits)])
            builder.trial_rows[-1]["test_accuracy"] = hits[search - 1, number].mean()
    builder.done()
    for label, found in enumerate(per_class(tmp_path)["l1"].values()):
        shares = hits.mean(axis=1)[:, labels == label]
        assert (found.mean, found.low, found.high) == pytest.approx((shares.mean(), *share_interval(shares)))


def test_of_many_classes_the_table_has_the_ten_worst_and_csv_and_json_have_all(tmp_path):
    builder, n_classes = searched(tmp_path), 30
    labels = np.arange(300) % n_classes
    for number, seed in enumerate(range(100, 108)):
        config = builder.trial("l1", number, [0.5], phase=Phase.CONFIRM, seed=seed, test=None)
        is_hit = np.arange(300) // n_classes < 10 * labels / n_classes  # the higher the class, the more
        logits = np.eye(n_classes, dtype=np.float32)[np.where(is_hit, labels, (labels + 1) % n_classes)]
        builder.folder.write_predictions(config, [Predictions("test", np.arange(300), labels, logits)])
        builder.trial_rows[-1]["test_accuracy"] = is_hit.mean()
    builder.done()
    lines = table_of(report(str(tmp_path)))
    assert [line.split()[0] for line in lines[2:12]] == [str(label) for label in range(10)]
    assert "The 10 of 30 classes in which some arm is worst; all are in the formats json and csv." in " ".join(lines[12:])
    (row,) = (row for row in csv.DictReader(io.StringIO(report(str(tmp_path), format="csv"))) if row["arm"] == "l1")
    (arm,) = json.loads(report(str(tmp_path), format="json"))["sweeps"][0]["comparison"]["arms"]
    assert len(arm["per_class"]) == n_classes
    for name, found in arm["per_class"].items():
        for column, part in (("", "mean"), ("_low", "low"), ("_high", "high")):
            assert float(row[f"accuracy_class_{name}{column}"]) == found[part]


def without_later_metrics(builder):
    """Rows as a version wrote them that had none of the later metrics."""
    later = {column.name for column in TRIAL_COLUMNS if column.is_later and column.name != "search"} | {each.val_column for each in LATER}
    for row in (*builder.trial_rows, *builder.epoch_rows):
        for name in later & row.keys():
            del row[name]
    return builder


@pytest.mark.parametrize("metric", [metric.name for metric in LATER if metric.least_classes <= 3])
def test_a_sweep_of_an_earlier_version_is_compared_by_a_later_metric_from_its_logits(tmp_path, metric):
    with_logits(tmp_path / "now").done()
    without_later_metrics(with_logits(tmp_path / "earlier")).done()
    now, earlier = (summarize(str(tmp_path / name), metric=f"test_{metric}").sweeps[0] for name in ("now", "earlier"))
    assert earlier.comparison == now.comparison
    assert earlier.verdict == now.verdict
    assert [arm.best.trial for arm in earlier.arms] == [arm.best.trial for arm in now.arms]
    assert np.isnan([search.pick.value for arm in earlier.arms for search in arm.searches]).all()
    for each in FORMATS:
        assert report(str(tmp_path / "earlier"), metric=metric, format=each)


def test_a_stored_sweep_on_cifar_10_is_compared_by_every_later_metric():
    for metric in LATER:
        (found,) = summarize(str(EXAMPLE), metric=metric.test_column).sweeps
        assert found.verdict.kind in ("better", "undecided")
        assert {arm.arm: arm.measures[metric.test_column].n for arm in found.comparison.arms} == {"l1": 5, "cross_entropy": 5, "focal": 5}
        if metric.name == "balanced_accuracy":  # as many test images of each class
            for arm in found.comparison.arms:
                assert arm.measures["test_balanced_accuracy"].mean == pytest.approx(arm.measures["test_accuracy"].mean)


@pytest.mark.parametrize(
    ("metric", "told"),
    [
        ("val_macro_f1", "Nothing to say: no trial of this sweep has a macro-F1."),
        ("test_top5_accuracy", "Nothing to say: no trial of this sweep has a top-5 accuracy; it takes 6 classes or more."),
    ],
)
def test_a_metric_that_a_sweep_does_not_have_is_told(tmp_path, earlier_sweep, metric, told):
    if "top5" in metric:
        with_logits(tmp_path / "results").done()
    else:
        earlier_sweep("finished")
    (found,) = summarize(str(tmp_path / "results"), metric=metric).sweeps
    assert (found.verdict.kind, found.verdict.sentence) == ("nothing", told)
    assert found.comparison is None
    for each in FORMATS:
        assert report(str(tmp_path / "results"), metric=metric, format=each)


def test_a_sweep_is_ranked_by_a_later_metric_that_it_stores(confirmed):
    (found,) = summarize(str(confirmed), metric="macro_f1").sweeps
    assert [arm.arm for arm in found.comparison.arms] == ["focal", "cross_entropy", "l1"]
    assert found.comparison.arms[0].measures["test_macro_f1"].mean == pytest.approx(0.5834 - 0.01, abs=1e-4)
    assert found.verdict.sentence.startswith("The configuration found for focal beats the one found for cross_entropy by 1.16 points")
