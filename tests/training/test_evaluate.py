import numpy as np
import pytest
import torch

from sweeper import metrics
from sweeper.training import evaluate
from sweeper.training.evaluate import folded_sums, row_sums, score


def numpy_figures(logits, labels):
    return [metric.compute(logits.numpy(), labels.numpy()) for metric in metrics.METRICS.values() if metric.compute]


@pytest.mark.parametrize("scale", [0.0, 0.1, 3.0, 100.0])
@pytest.mark.parametrize("n_classes", [2, 3, 5, 6, 10])
def test_figures_are_those_of_the_numpy_metrics(scale, n_classes):
    generator = torch.Generator().manual_seed(4)
    logits = torch.randn(3, 500, n_classes, generator=generator) * scale
    labels = torch.randint(0, n_classes, (3, 500), generator=generator)
    for member, figures in enumerate(score(logits, labels)):
        np.testing.assert_allclose(figures, numpy_figures(logits[member], labels[member]), rtol=1e-9, atol=1e-12)


def test_classes_that_do_not_occur_or_are_never_given_are_those_of_the_numpy_metrics():
    generator = torch.Generator().manual_seed(4)
    logits = torch.randn(3, 40, 100, generator=generator)  # of 100 classes at most 40 occur
    logits[1, :, 7] += 100  # one class is given to all images
    logits[2, 3, 5] = torch.nan
    labels = torch.randint(0, 60, (3, 40), generator=generator)
    for member, figures in enumerate(score(logits, labels)):
        np.testing.assert_allclose(figures, numpy_figures(logits[member], labels[member]), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_one_logit_that_is_not_finite_spoils_its_own_member_only(value):
    generator = torch.Generator().manual_seed(4)
    logits = torch.randn(2, 50, 10, generator=generator)
    labels = torch.randint(0, 10, (2, 50), generator=generator)
    expected = score(logits, labels)[0]
    logits[1, 7, 3] = value
    found = score(logits, labels)
    assert torch.equal(found[0], expected)
    np.testing.assert_allclose(found[1], numpy_figures(logits[1], labels[1]), rtol=1e-12)
    counts_hits = torch.tensor([metric.counts_hits for metric in metrics.METRICS.values() if metric.compute])
    assert torch.equal(found[1].isfinite(), counts_hits)


@pytest.mark.parametrize("n_threads", [1, 2, 6])
def test_a_row_that_is_long_enough_for_several_threads_has_one_sum_alone_and_in_company(n_threads):
    torch.set_num_threads(n_threads)
    values = torch.randn(4, 50_001, generator=torch.Generator().manual_seed(4))
    for n_rows in range(1, 5):
        for row in range(n_rows):
            assert torch.equal(row_sums(values[:n_rows])[row], row_sums(values[row : row + 1])[0])
    assert torch.get_num_threads() == n_threads


@pytest.mark.parametrize("n_images", [1, 2, 500, 1000])
def test_on_a_gpu_sums_are_folded_which_no_other_row_has_a_part_in(n_images):
    values = torch.randn(7, n_images, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    together = folded_sums(values)
    torch.testing.assert_close(together, values.sum(1), rtol=0, atol=1e-12)
    for row in range(7):
        assert torch.equal(folded_sums(values[row : row + 1])[0], together[row])


def test_on_a_gpu_the_figures_are_those_of_the_cpu_to_the_last_digits_and_do_not_depend_on_company(monkeypatch):
    generator = torch.Generator().manual_seed(4)
    logits, labels = 3 * torch.randn(5, 777, 10, generator=generator), torch.randint(0, 10, (5, 777), generator=generator)
    expected = score(logits, labels)
    bins = torch.randint(0, metrics.N_BINS, (5, 777), generator=generator)
    expected_bins = evaluate.bin_sums(logits[..., 0], bins)
    monkeypatch.setattr(evaluate, "_adds_in_order", lambda _: False)
    found = score(logits, labels)
    torch.testing.assert_close(found, expected, rtol=1e-14, atol=1e-15)
    torch.testing.assert_close(evaluate.bin_sums(logits[..., 0], bins), expected_bins)
    for member in range(5):
        assert torch.equal(score(logits[member : member + 1], labels[member : member + 1])[0], found[member])


def test_on_the_cpu_a_member_is_scored_alone_as_in_company():
    generator = torch.Generator().manual_seed(5)
    logits, labels = 3 * torch.randn(5, 777, 10, generator=generator), torch.randint(0, 10, (5, 777), generator=generator)
    found = score(logits, labels)
    for member in range(5):
        assert torch.equal(score(logits[member : member + 1], labels[member : member + 1])[0], found[member])
