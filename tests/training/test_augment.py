import numpy as np
import pytest
import torch
import torchvision.transforms.functional as T
from PIL import Image
from plain_pytorch import augmented, normalised
from toy_trials import settings

from sweeper.training.augment import draw_epoch, normalised_levels
from sweeper.training.cpu.lanes import LANES, Lanes
from sweeper.training.device_data import DeviceData
from sweeper.training.gpu.grouped import Grouped
from sweeper.training.model import ConvNet

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)


def some_images(n, height=32, width=32):
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (n, height, width, 3)).astype(np.uint8))


def as_images(lanes, n, height, width):
    """Blocks of lanes as [image, channel, height, width]."""
    return lanes.view(-1, 3, height, width, LANES).permute(0, 4, 1, 2, 3).reshape(-1, 3, height, width)[:n]


def cut(kind, images, chosen, offsets, flips):
    levels = normalised_levels(MEAN, STD)
    net = ConvNet(*images.shape[1:3], 10)
    if kind == "operators":
        return Grouped(net, levels, torch.device("cpu")).cut(images, chosen[None], offsets, flips)[0]
    found = Lanes(net, levels).cut(images, chosen[None], offsets, flips)
    return as_images(found, len(chosen), *images.shape[1:3])


def test_draws_follow_from_seed_and_epoch_alone():
    torch.manual_seed(0)
    first = draw_epoch(3, 2, 1000)
    torch.manual_seed(1)
    draw_epoch(3, 1, 10)
    again = draw_epoch(3, 2, 1000)
    assert torch.equal(first.order, again.order)
    assert torch.equal(first.offsets, again.offsets)
    assert torch.equal(first.flips, again.flips)
    for seed, epoch in ((3, 3), (4, 2), (32, 2), (2, 3)):
        assert not torch.equal(draw_epoch(seed, epoch, 1000).order, first.order)


def test_draws_do_not_change_between_releases():
    drawn = draw_epoch(1, 1, 8)
    assert drawn.order.tolist() == [3, 6, 5, 2, 7, 4, 0, 1]
    assert drawn.offsets.tolist() == [[2, 4], [5, 8], [3, 2], [4, 6], [1, 4], [5, 0], [0, 0], [5, 7]]
    assert drawn.flips.tolist() == [False, True, True, False, True, True, False, False]


def test_draws_are_uniform():
    drawn = draw_epoch(7, 1, 40_000)
    assert torch.equal(drawn.order.sort().values, torch.arange(40_000))
    counts = torch.bincount(drawn.offsets[:, 0] * 9 + drawn.offsets[:, 1], minlength=81)
    assert len(counts) == 81
    expected = 40_000 / 81
    assert ((counts - expected) ** 2 / expected).sum() < 133  # chi-squared, 80 degrees of freedom, p = 1e-4
    assert abs(drawn.flips.float().mean().item() - 0.5) < 0.01


@pytest.mark.parametrize("kind", ["lanes", "operators"])
@pytest.mark.parametrize(("height", "width"), [(32, 32), (28, 37)])
def test_every_crop_and_flip_is_that_of_the_image_on_black(kind, height, width):
    images = some_images(20, height, width)
    offsets = torch.cartesian_prod(torch.arange(9), torch.arange(9)).repeat_interleave(2, 0)
    flips = torch.tensor([False, True]).repeat(81)
    chosen = torch.arange(len(flips)) % 20
    found = cut(kind, images, chosen, offsets[None], flips[None])

    class Numbers:
        mean, std = MEAN, STD

    for index, offset, flip, image in zip(chosen, offsets, flips, found, strict=True):
        expected = normalised(Numbers, augmented(images[index].numpy(), offset.tolist(), bool(flip)))
        torch.testing.assert_close(image, expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("kind", ["lanes", "operators"])
@pytest.mark.parametrize("n_images", [1, 15, 16, 17, 40])
def test_images_without_augmentation_are_torchvisions(kind, n_images):
    images = some_images(50)
    chosen = torch.randperm(50, generator=torch.Generator().manual_seed(1))[:n_images]
    found = cut(kind, images, chosen, None, None)
    assert len(found) == n_images
    for index, image in zip(chosen, found, strict=True):
        expected = T.normalize(T.to_tensor(Image.fromarray(images[index].numpy())), MEAN, STD)
        torch.testing.assert_close(image, expected, rtol=0, atol=2e-6)


def test_left_over_lanes_hold_zeros_even_after_a_fuller_batch():
    lanes = Lanes(ConvNet(32, 32, 10), normalised_levels(MEAN, STD))
    images = some_images(32)
    lanes.cut(images, torch.arange(32)[None], None, None)
    found = lanes.cut(images, torch.arange(17)[None], None, None)
    assert as_images(found, 32, 32, 32)[17:].eq(0).all()
    assert len(as_images(found, 99, 32, 32)) == 32


def test_draws_made_ahead_are_those_that_would_be_made_later(dataset):
    backend = Grouped(ConvNet(32, 32, 10), normalised_levels((0.5,) * 3, (0.2,) * 3), torch.device("cpu"))
    ahead, later = (DeviceData(dataset, settings(), backend, torch.device("cpu")) for _ in range(2))
    streams = [(1, 2, "crop_flip"), (3, 1, "randaugment")]
    ahead.draw_ahead([*streams, (9, 9, "none"), streams[0]])
    ahead.draw_ahead(streams)
    assert list(ahead._ahead) == streams
    for chosen in zip(*(data.draw([*streams, (4, 1, "none")]).batches(64) for data in (ahead, later)), strict=True):
        found, expected = (data.training_batch(each) for data, each in zip((ahead, later), chosen, strict=True))
        assert torch.equal(found.labels, expected.labels)
        assert torch.equal(found.images, expected.images)
