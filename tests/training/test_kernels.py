import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from sweeper.training.cpu.jit import LANES, compiled
from sweeper.training.cpu.kernels import SUMS_ORDER, compile_kernels
from sweeper.training.cpu.lanes import LaneNetwork, in_threads
from sweeper.training.model import ConvNet

HEIGHT, WIDTH, N_CLASSES = 28, 37, 3  # odd and even borders, which poolings drop


def lanes_of(images):
    """[image, channel, height, width] as blocks of lanes."""
    left_over = -len(images) % LANES
    padded = torch.cat([images, torch.zeros(left_over, *images.shape[1:])])
    return padded.unflatten(0, (-1, LANES)).permute(0, 2, 3, 4, 1).reshape(-1)


def lane_network(net, weights):
    return LaneNetwork(net, compile_kernels(net.height, net.width), weights)


def plain_logits(tensors, member, images):
    x = F.max_pool2d(F.relu(F.conv2d(images, tensors["conv1.weight"][member], tensors["conv1.bias"][member])), 2)
    x = F.max_pool2d(F.relu(F.conv2d(x, tensors["conv2.weight"][member], tensors["conv2.bias"][member])), 2)
    x = F.relu(F.linear(x.flatten(1), tensors["fc1.weight"][member], tensors["fc1.bias"][member]))
    return F.linear(x, tensors["fc2.weight"][member], tensors["fc2.bias"][member])


def compare(images, weights, rtol=1e-4):
    net = ConvNet(HEIGHT, WIDTH, N_CLASSES)
    network = lane_network(net, weights)
    logits = network.forward(lanes_of(images), len(images))
    upstream = torch.randn(logits.shape, generator=torch.Generator().manual_seed(9))
    gradient = network.backward(upstream)
    for member, row in enumerate(weights.double()):
        leaf = row.clone().requires_grad_()
        expected = plain_logits(net.split(leaf[None]), 0, images.double())
        torch.testing.assert_close(logits[member].double(), expected.detach(), rtol=rtol, atol=1e-4)
        (expected_gradient,) = torch.autograd.grad(expected, leaf, upstream[member].double())
        torch.testing.assert_close(gradient[member].double(), expected_gradient, rtol=1e-3, atol=1e-3)


def some_weights(n_members, scale=1.0):
    net = ConvNet(HEIGHT, WIDTH, N_CLASSES)
    return torch.stack([net.initial_weights(seed) * scale for seed in range(n_members)])


@pytest.mark.parametrize("n_images", [1, 16, 19, 40])
def test_logits_and_gradients_are_pytorchs(n_images):
    images = torch.randn(n_images, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(2))
    compare(images, some_weights(3))


def test_equal_pixels_give_their_gradient_to_the_first_of_them():
    images = torch.zeros(8, 3, HEIGHT, WIDTH)
    images[:4] = 0.5
    images[4:, :, :, ::2] = -1.0
    compare(images, some_weights(2))


def test_a_closed_relu_passes_no_gradient():
    weights = some_weights(2)
    weights[0, 108:112] = -100.0  # biases of the first convolution
    weights[1, 400:408] = -100.0  # and of the second
    compare(torch.rand(5, 3, HEIGHT, WIDTH), weights)


def test_a_batch_after_a_fuller_one_does_not_see_its_images():
    net = ConvNet(HEIGHT, WIDTH, N_CLASSES)
    network = lane_network(net, some_weights(2))
    images = torch.randn(32, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(2))
    network.forward(lanes_of(images), 32)
    network.backward(torch.ones(2, 32, N_CLASSES))
    network.forward(lanes_of(images[:20]), 20)
    found = network.backward(torch.ones(2, 20, N_CLASSES)).clone()
    fresh = lane_network(net, some_weights(2))
    fresh.forward(lanes_of(images[:20]), 20)
    assert torch.equal(fresh.backward(torch.ones(2, 20, N_CLASSES)), found)


@pytest.mark.parametrize("at", [0, 108, 112, 400])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_not_finite_show_in_the_logits_of_their_own_member(at, value):
    images = torch.rand(20, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(2)) + 0.1
    net = ConvNet(HEIGHT, WIDTH, N_CLASSES)
    healthy = lane_network(net, some_weights(3))
    expected = healthy.forward(lanes_of(images), 20).clone()
    expected_gradient = healthy.backward(torch.ones(3, 20, N_CLASSES)).clone()
    weights = some_weights(3)
    weights[1, at] = value
    sick = lane_network(net, weights)
    found, gradient = sick.forward(lanes_of(images), 20), sick.backward(torch.ones(3, 20, N_CLASSES))
    plain = plain_logits(net.split(weights), 1, images)
    assert torch.equal(found[1].isfinite(), plain.isfinite())
    assert not found[1].isfinite().all()
    for member in (0, 2):
        assert torch.equal(found[member], expected[member])
        assert torch.equal(gradient[member], expected_gradient[member])


def test_the_sums_hold_each_weight_once():
    np.testing.assert_array_equal(np.sort(SUMS_ORDER), np.arange(408))


@pytest.mark.parametrize("n_threads", [1, 2, 3, 8])
def test_threads_share_all_units_once(n_threads):
    torch.set_num_threads(n_threads)
    for n_units in (1, 2, 7, 64):
        shares = []
        in_threads(lambda first, last, shares=shares: shares.append((first, last)), n_units)
        assert sorted(unit for first, last in shares for unit in range(first, last)) == list(range(n_units))
        assert max(last - first for first, last in shares) - min(last - first for first, last in shares) <= 1


def test_an_error_in_a_thread_is_not_lost():
    torch.set_num_threads(2)

    def fails(first, last):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        in_threads(fails, 4)


def test_a_kernel_without_a_folder_for_its_machine_code_still_runs():
    scope = {}
    exec("def double(x):\n    x *= 2", scope)  # noqa: S102 - a function without a file, beside which Numba cannot keep anything
    x = np.ones(3, np.float32)
    compiled(scope["double"], "void(f4[::1])")(x)
    assert x.tolist() == [2, 2, 2]


def test_a_kernel_is_compiled_once_for_all_processes():
    code = (
        "from sweeper.training.cpu.kernels import compile_kernels; k = compile_kernels(28, 37); print(k.forward.stats.cache_hits.total())"
    )
    compile_kernels(28, 37)
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "1\n"
