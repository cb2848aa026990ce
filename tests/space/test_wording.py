"""Which name is meant by one that is not known."""

import pytest

from sweeper.catalogue import LOSSES, TRAINING_PARAMETERS
from sweeper.text import nearest


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("focl", "focal"),
        ("nn.CrossEntropyLoss", "cross_entropy"),
        ("torch.nn.MSELoss", "mse"),
        ("L1Loss", "l1"),
        ("LabelSmoothingCrossEntropy", "label_smoothing"),
        ("ce", "cross_entropy"),
        ("gce", "generalized_cross_entropy"),
    ],
)
def test_a_loss_is_known_by_its_name_elsewhere(written, meant):
    assert nearest(written, LOSSES) == f"did you mean '{meant}'?"


@pytest.mark.parametrize(("written", "meant"), [("lr", "learning_rate"), ("wd", "weight_decay"), ("LearningRate", "learning_rate")])
def test_a_training_parameter_is_known_by_its_initials(written, meant):
    assert nearest(written, TRAINING_PARAMETERS) == f"did you mean '{meant}'?"


@pytest.mark.parametrize("written", ["hinge", "x", "", "my.loss", "nn.", "_", "\x1b[31m", "lr" * 500])
def test_what_looks_like_nothing_known_is_answered_with_what_is_known(written):
    assert nearest(written, LOSSES) == f"known: {', '.join(LOSSES)}"
