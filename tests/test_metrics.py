"""Metrics against hand-computed cases, other formulas, scipy and the torch version of the engine."""

import math
from dataclasses import fields

import numpy as np
import pytest
import sklearn.metrics as sklearn
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax as scipy_log_softmax
from scipy.special import softmax

from sweeper import metrics
from sweeper.errors import DataError
from sweeper.records import TRIAL_COLUMNS, VAL_METRICS, EpochMetrics, TestMetrics
from sweeper.training.evaluate import score

COMPUTED = {name: metric.compute for name, metric in metrics.METRICS.items() if metric.compute}
ALL_METRICS = [*COMPUTED.values(), metrics.reliability, metrics.fit_temperature]


def random_logits(n_images: int = 500, n_classes: int = 10, seed: int = 0, scale: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n_classes, n_images)
    logits = rng.normal(size=(n_images, n_classes)) * scale
    logits[np.arange(n_images), labels] += scale
    return logits, labels


def logits_of(*probabilities: list[float]) -> np.ndarray:
    return np.log(np.array(probabilities))


def test_a_case_worked_out_by_hand():
    logits = logits_of([0.7, 0.2, 0.1], [0.3, 0.6, 0.1], [0.1, 0.1, 0.8], [0.5, 0.25, 0.25])
    labels = np.array([0, 0, 2, 1])
    assert metrics.accuracy(logits, labels) == 0.5
    assert metrics.nll(logits, labels) == pytest.approx(-(math.log(0.7) + math.log(0.3) + math.log(0.8) + math.log(0.25)) / 4)
    squares = (0.09 + 0.04 + 0.01) + (0.49 + 0.36 + 0.01) + (0.01 + 0.01 + 0.04) + (0.25 + 0.5625 + 0.0625)
    assert metrics.brier(logits, labels) == pytest.approx(squares / 4)
    # two bins: (0, 0.5] holds the last image (wrong, 0.5), (0.5, 1] the others (2 of 3 right, mean 0.7)
    assert metrics.ece(logits, labels, n_bins=2) == pytest.approx((1 * 0.5 + 3 * abs(2 / 3 - 0.7)) / 4)
    np.testing.assert_array_equal(metrics.confusion_matrix(logits, labels), [[1, 1, 0], [1, 0, 0], [0, 0, 1]])


def test_figures_of_classes_worked_out_by_hand():
    given = np.array([0, 0, 1, 1, 1, 2, 4])  # of six classes, the last of which is neither there nor given to any image
    labels = np.array([0, 0, 0, 1, 1, 3, 3])
    logits = np.eye(6)[given]
    assert metrics.balanced_accuracy(logits, labels) == pytest.approx((2 / 3 + 2 / 2 + 0 / 2) / 3)  # classes 0, 1 and 3 occur
    assert metrics.worst_class_accuracy(logits, labels) == 0
    # right / (occurs + given) of class 0: 2 / (3 + 2), of 1: 2 / (2 + 3); 2 and 4 are given and do not occur, 3 occurs and is never given
    assert metrics.macro_f1(logits, labels) == pytest.approx((2 * 2 / 5 + 2 * 2 / 5 + 0 + 0 + 0) / 5)
    np.testing.assert_array_equal(metrics.recalls(logits, labels), [2 / 3, 1, np.nan, 0, np.nan, np.nan])


@pytest.mark.parametrize("n_images", [1, 5, 30, 2000])
@pytest.mark.parametrize("scale", [0.0, 0.3, 3.0])
@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true:UserWarning")
def test_figures_of_classes_are_those_of_scikit_learn(n_images, scale):
    for seed in range(5):
        logits, labels = random_logits(n_images, 12, seed, scale)
        given = logits.argmax(axis=1)
        assert metrics.balanced_accuracy(logits, labels) == pytest.approx(sklearn.balanced_accuracy_score(labels, given))
        assert metrics.macro_f1(logits, labels) == pytest.approx(sklearn.f1_score(labels, given, average="macro", zero_division=0))
        worst = sklearn.recall_score(labels, given, labels=np.unique(labels), average=None, zero_division=0).min()
        assert metrics.worst_class_accuracy(logits, labels) == pytest.approx(worst)
        if scale:  # of equal logits scikit-learn takes the last classes
            found = sklearn.top_k_accuracy_score(labels, logits, k=5, labels=range(12))
            assert metrics.top5_accuracy(logits, labels) == pytest.approx(found)


def test_of_equal_logits_the_five_lowest_classes_are_the_five_highest():
    logits = np.zeros((8, 8))
    logits[:, 7] = 1
    np.testing.assert_array_equal([metrics.top5_accuracy(logits[:1], np.array([label])) for label in range(8)], [1, 1, 1, 1, 0, 0, 0, 1])
    assert metrics.top5_accuracy(logits, np.arange(8)) == 5 / 8


@pytest.mark.parametrize("n_classes", [1, 2, 5, 6])
def test_a_top_5_accuracy_is_there_from_six_classes_on(n_classes):
    logits, labels = np.zeros((6, n_classes)), np.minimum(np.arange(6), n_classes - 1)
    found = dict(zip(COMPUTED, score(torch.tensor(logits)[None], torch.tensor(labels)[None])[0].tolist(), strict=True))
    assert math.isnan(metrics.top5_accuracy(logits, labels)) == math.isnan(found["top5_accuracy"]) == (n_classes < 6)
    assert metrics.METRICS["top5_accuracy"].least_classes == 6


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_figures_that_count_hits_are_numbers_for_any_logits_and_the_others_are_not(value):
    logits, labels = np.full((20, 10), value), np.arange(20) % 10
    assert {name: compute(logits, labels) for name, compute in COMPUTED.items() if metrics.METRICS[name].counts_hits} == {
        "accuracy": 0,
        "balanced_accuracy": 0,
        "macro_f1": 0,
        "top5_accuracy": 0,
        "worst_class_accuracy": 0,
    }
    assert all(math.isnan(compute(logits, labels)) for name, compute in COMPUTED.items() if not metrics.METRICS[name].counts_hits)


def test_log_softmax_and_nll_agree_with_scipy_and_torch():
    logits, labels = random_logits()
    np.testing.assert_allclose(metrics.log_softmax(logits), scipy_log_softmax(logits, axis=1), rtol=1e-12)
    assert metrics.nll(logits, labels) == pytest.approx(F.cross_entropy(torch.tensor(logits), torch.tensor(labels)).item(), rel=1e-12)


def test_numpy_and_torch_figures_of_the_same_logits_agree():
    pairs = [random_logits(seed=seed, scale=scale) for seed, scale in [(1, 0.1), (2, 1.0), (3, 5.0), (4, 3000.0)]]
    ours = [[compute(*pair) for compute in COMPUTED.values()] for pair in pairs]
    theirs = score(torch.tensor(np.stack([pair[0] for pair in pairs])), torch.tensor(np.stack([pair[1] for pair in pairs])))
    np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("n_classes", [2, 3, 4, 5, 6, 10, 15])
def test_a_confidence_on_the_edge_of_a_bin_lies_in_the_same_bin_for_numpy_and_torch(n_classes):
    logits, labels = np.zeros((n_classes, n_classes)), np.arange(n_classes)
    torch_ece = score(torch.tensor(logits)[None], torch.tensor(labels)[None])[0, 3].item()
    assert metrics.ece(logits, labels) == pytest.approx(torch_ece, abs=1e-12)


def test_an_edge_belongs_to_the_bin_below_it_and_certainty_to_the_last():
    bins = metrics.reliability(np.array([[0.0, 0.0], [0.0, 800.0]]), np.array([0, 1]), n_bins=4)
    np.testing.assert_array_equal(bins.counts, [0, 1, 0, 1])
    np.testing.assert_array_equal(bins.edges, [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_array_equal(bins.confidence, [np.nan, 0.5, np.nan, 1.0])
    np.testing.assert_array_equal(bins.accuracy, [np.nan, 1.0, np.nan, 1.0])


def test_ece_agrees_with_a_loop_over_the_bins():
    logits, labels = random_logits(scale=1.0)
    p = softmax(logits, axis=1)
    total = 0.0
    for low in range(15):
        inside = (p.max(1) > low / 15) & (p.max(1) <= (low + 1) / 15)
        if inside.any():
            total += inside.mean() * abs((p.argmax(1) == labels)[inside].mean() - p.max(1)[inside].mean())
    assert metrics.ece(logits, labels) == pytest.approx(total, rel=1e-12)


def test_brier_runs_from_0_for_sure_and_right_to_2_for_sure_and_wrong():
    logits = np.array([[1e4, -1e4, 0.0]])
    assert metrics.brier(logits, np.array([0])) == 0
    assert metrics.brier(logits, np.array([1])) == 2


def test_huge_logits_have_finite_figures():
    logits = np.array([[1e4, -1e4], [-1e4, 1e4]], dtype=np.float32)
    assert metrics.nll(logits, np.array([1, 1])) == 1e4
    assert metrics.ece(logits, np.array([1, 1])) == 0.5


def test_half_precision_logits_are_measured_in_double_precision():
    logits, labels = random_logits()
    half = logits.astype(np.float16)
    assert metrics.nll(half, labels) == metrics.nll(half.astype(np.float64), labels)


def test_classes_without_images_have_an_empty_row():
    logits = np.eye(4)[[0, 2, 2]]
    assert metrics.confusion_matrix(logits, np.array([0, 2, 2])).tolist() == [[1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 2, 0], [0, 0, 0, 0]]


def test_logits_that_are_not_finite_give_nan_and_count_as_a_miss():
    logits, labels = np.array([[np.nan, 0.0], [0.0, 1.0], [np.inf, 0.0], [0.0, -np.inf]]), np.array([0, 1, 0, 0])
    assert metrics.accuracy(logits, labels) == 0.25
    assert all(math.isnan(metric(logits, labels)) for metric in (metrics.nll, metrics.brier, metrics.ece, metrics.fit_temperature))
    assert metrics.reliability(logits, labels).counts.sum() == 1
    assert metrics.confusion_matrix(logits, labels).sum() == 1


@pytest.mark.parametrize("metric", ALL_METRICS)
@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (np.zeros((0, 3)), np.zeros(0, int), "must have shapes (n, classes) and (n,) with n >= 1, got (0, 3) and (0,)"),
        (np.zeros((2, 3)), np.zeros(3, int), "got (2, 3) and (3,)"),
        (np.zeros(3), np.zeros(3, int), "got (3,) and (3,)"),
        (np.zeros((2, 3)), np.array([0, 3]), "labels: must lie in 0..2, the classes of the logits, got 3"),
        (np.zeros((2, 3)), np.array([-1, 0]), "got -1"),
        (np.zeros((2, 3)), np.array([0.0, 1.0]), "labels: must be integers, got float64"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(metric, logits, labels, message):
    with pytest.raises(DataError) as caught:
        metric(logits, labels)
    assert message in str(caught.value)


def test_no_bins_are_refused():
    with pytest.raises(DataError, match=r"n_bins: must be >= 1, got 0"):
        metrics.ece(*random_logits(), n_bins=0)


@pytest.mark.parametrize("true_temperature", [0.1, 0.5, 1.0, 2.5, 20.0])
def test_the_fitted_temperature_is_the_one_that_scipy_finds(true_temperature):
    rng = np.random.default_rng(3)
    logits = rng.normal(size=(4000, 10)) * 2
    labels = np.array([rng.choice(10, p=p) for p in softmax(logits, axis=1)])
    found = metrics.fit_temperature(logits * true_temperature, labels)
    best = minimize_scalar(lambda t: metrics.nll(logits * true_temperature / np.exp(t), labels), bounds=(-5, 5), method="bounded")
    assert found == pytest.approx(np.exp(best.x), rel=1e-3)
    assert found == pytest.approx(true_temperature, rel=0.1)


def test_scaling_by_the_fitted_temperature_lowers_nll_and_keeps_accuracy():
    logits, labels = random_logits(scale=8.0)
    labels[::3] = 0
    scaled = logits / metrics.fit_temperature(logits, labels)
    assert metrics.nll(scaled, labels) < metrics.nll(logits, labels)
    assert metrics.accuracy(scaled, labels) == metrics.accuracy(logits, labels)


@pytest.mark.parametrize(
    ("logits", "labels", "temperature"),
    [
        (np.zeros((5, 3)), [0, 1, 2, 0, 1], 1.0),  # all equal: nothing depends on T
        (np.full((5, 3), 1e4), [0, 1, 2, 0, 1], 1.0),
        (np.zeros((5, 1)), [0] * 5, 1.0),  # one class
        (np.eye(3) * 2, [0, 1, 2], 0.01),  # always right: the surer the better
        (np.eye(3) * 2, [1, 2, 0], 100.0),  # always wrong: the less sure the better
        (np.eye(3) * 1e4 - 5e3, [0, 1, 2], 1.0),  # right and as sure as double precision can tell
        (np.eye(3) * 2e4 - 1e4, [1, 2, 0], 100.0),
    ],
)
def test_degenerate_logits_have_the_temperature_of_the_rule(logits, labels, temperature):
    assert metrics.fit_temperature(logits, np.array(labels)) == pytest.approx(temperature)


@given(
    arrays(np.float32, st.tuples(st.integers(1, 8), st.integers(1, 5)), elements=st.floats(-1e4, 1e4, width=32)),
    st.randoms(use_true_random=False),
)
def test_no_finite_logits_make_a_metric_leave_its_range(logits, random):
    labels = np.array([random.randrange(logits.shape[1]) for _ in range(len(logits))])
    assert 0 <= metrics.accuracy(logits, labels) <= 1
    assert 0 <= metrics.nll(logits, labels) <= 2e4 + 2
    assert 0 <= metrics.brier(logits, labels) <= 2 + 1e-12
    assert 0 <= metrics.ece(logits, labels) <= 1
    assert 0 <= metrics.worst_class_accuracy(logits, labels) <= metrics.balanced_accuracy(logits, labels) <= 1 + 1e-12
    assert 0 <= metrics.macro_f1(logits, labels) <= 1 + 1e-12
    assert metrics.reliability(logits, labels).counts.sum() == metrics.confusion_matrix(logits, labels).sum() == len(labels)
    temperature = metrics.fit_temperature(logits, labels)
    assert 0.01 <= temperature <= 100
    assert metrics.nll(logits.astype(np.float64) / temperature, labels) <= metrics.nll(logits, labels) * (1 + 1e-9) + 1e-9


def test_the_records_have_a_field_for_every_metric_of_the_table():
    epoch = [field.name for field in fields(EpochMetrics) if field.name.startswith("val_")]
    assert epoch == list(VAL_METRICS) == [metric.val_column for metric in metrics.METRICS.values()]
    scaled = [metric.scaled_column for metric in metrics.METRICS.values() if metric.scaled]
    test = [*(metric.test_column for metric in metrics.METRICS.values()), "temperature", *scaled]
    assert [field.name for field in fields(TestMetrics)] == [*test, "own"]
    assert [column.name for column in TRIAL_COLUMNS if column.name in test] == test


@pytest.mark.parametrize(
    ("column", "values", "best"),
    [
        ("val_accuracy", [0.1, 0.3, 0.3, math.nan], 1),
        ("val_nll", [2.0, 1.0, 1.0, None], 1),
        ("test_nll_scaled", [math.inf, -math.inf, 5.0], 2),
        ("train_accuracy", [0.0, math.inf], 0),
        ("val_ece", [None, math.nan], None),
        ("val_loss", [], None),
    ],
)
def test_the_best_is_the_first_of_the_best_finite_values(column, values, best):
    assert metrics.best_of(column, range(len(values)), values.__getitem__) == best
