import pytest
import torch
from plain_pytorch import PlainConvNet

from sweeper.errors import TrainingError
from sweeper.training.model import ConvNet


def test_the_convnet_has_9986_weights_on_cifar10():
    assert ConvNet(32, 32, 10).n_weights == 9986
    assert ConvNet(32, 32, 10).shapes["fc1.weight"] == (32, 288)


@pytest.mark.parametrize(("height", "width", "n_classes"), [(32, 32, 10), (28, 37, 3), (10, 10, 100)])
def test_initial_weights_are_those_of_pytorchs_layers_after_manual_seed(height, width, n_classes):
    with torch.random.fork_rng():
        torch.manual_seed(42)
        plain = PlainConvNet(height, width, n_classes)
    net = ConvNet(height, width, n_classes)
    tensors = net.split(net.initial_weights(42)[None])
    for name, expected in plain.named_parameters():
        assert torch.equal(tensors[name][0], expected.detach()), name
    assert list(tensors) == [name for name, _ in plain.named_parameters()]


def test_initial_weights_depend_on_the_seed_alone():
    net = ConvNet(32, 32, 10)
    torch.manual_seed(0)
    first = net.initial_weights(5)
    torch.manual_seed(1)
    assert torch.equal(net.initial_weights(5), first)
    assert not torch.equal(net.initial_weights(6), first)


def test_the_views_of_a_row_are_the_row():
    net = ConvNet(32, 32, 10)
    rows = torch.zeros(2, net.n_weights)
    for value, tensor in enumerate(net.split(rows).values(), start=1):
        tensor[1] = value
    assert rows[0].eq(0).all()
    assert rows[1].unique_consecutive().tolist() == [1, 2, 3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize(("height", "width"), [(9, 32), (32, 9), (1, 1)])
def test_images_too_small_for_two_poolings_are_refused(height, width):
    with pytest.raises(TrainingError, match=f"needs images of at least 10 x 10 pixels, got {height} x {width}"):
        ConvNet(height, width, 10)
