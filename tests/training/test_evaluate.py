import numpy as np
import pytest
import torch

from sweeper import metrics
from sweeper.training.evaluate import score


def numpy_figures(logits, labels):
    return [figure(logits.numpy(), labels.numpy()) for figure in (metrics.accuracy, metrics.nll, metrics.brier, metrics.ece)]


@pytest.mark.parametrize("scale", [0.0, 0.1, 3.0, 100.0])
@pytest.mark.parametrize("n_classes", [2, 3, 10])
def test_figures_are_those_of_the_numpy_metrics(scale, n_classes):
    generator = torch.Generator().manual_seed(4)
    logits = torch.randn(3, 500, n_classes, generator=generator) * scale
    labels = torch.randint(0, n_classes, (3, 500), generator=generator)
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
    np.testing.assert_equal(found[1].numpy(), np.array(numpy_figures(logits[1], labels[1])))
    assert found[1, 1:].isnan().all()
    assert found[1, 0].isfinite()
