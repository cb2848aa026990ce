import numpy as np
import pytest
import torch
import torchvision.transforms.functional as T
from PIL import Image
from plain_pytorch import FILL, augmented, edited, normalised
from torchvision.transforms import v2
from toy_trials import settings

from sweeper.catalogue import TRAINING_PARAMETERS
from sweeper.training.augment import OPERATIONS, cut_out, draw_epoch, normalised_levels, rand_augmented
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


POLICIES = TRAINING_PARAMETERS["augment"].options


@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_has_the_order_and_what_it_takes_of_the_crops_and_flips_of_crop_flip(policy):
    drawn, expected = draw_epoch(3, 2, 500, policy, (28, 37)), draw_epoch(3, 2, 500)
    assert torch.equal(drawn.order, expected.order)
    assert torch.equal(drawn.flips, torch.zeros(500, dtype=torch.bool) if policy == "none" else expected.flips)
    assert torch.equal(drawn.offsets, torch.full((500, 2), 4) if policy in {"none", "flip"} else expected.offsets)
    assert (drawn.edits is None) == (policy not in {"cutout", "randaugment"})


def test_edits_do_not_change_between_releases():
    assert draw_epoch(1, 1, 8, "cutout", (32, 40)).edits.tolist() == [
        [16, 13],
        [9, 20],
        [12, 3],
        [15, 16],
        [9, 36],
        [21, 35],
        [27, 34],
        [13, 35],
    ]
    assert draw_epoch(1, 1, 8, "randaugment").edits.tolist() == [[9, 3], [20, 14], [19, 6], [10, 7], [15, 9], [27, 0], [25, 7], [12, 26]]


def test_edits_are_uniform():
    centres, codes = draw_epoch(7, 1, 40_000, "cutout", (28, 37)).edits, draw_epoch(7, 1, 40_000, "randaugment").edits
    for numbers, n_values in (
        (centres[:, 0], 28),
        (centres[:, 1], 37),
        (codes[:, 0], 28),
        (codes[:, 1], 28),
        (codes[:, 0] * 28 + codes[:, 1], 784),
    ):
        counts = np.bincount(numbers, minlength=n_values)
        assert len(counts) == n_values
        expected = 40_000 / n_values
        freedom = n_values - 1
        assert ((counts - expected) ** 2 / expected).sum() < freedom + 5 * (2 * freedom) ** 0.5


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


# ---- policies that change bytes


@pytest.mark.parametrize(("height", "width"), [(32, 32), (28, 37), (224, 160)])
@pytest.mark.parametrize("number", range(len(OPERATIONS)), ids=[operation.name for operation in OPERATIONS])
def test_an_operation_does_to_many_images_what_torchvisions_own_does_to_each(number, height, width):
    images = some_images(5, height, width)
    images[1], images[2, :, :, 0] = 77, 200  # for those that stretch what there is
    codes = np.array([[2 * number + is_negative, 0] for is_negative in (0, 1, 0, 1, 0)])
    for image, row, found in zip(images, codes, rand_augmented(images, codes), strict=True):
        np.testing.assert_array_equal(found, edited("randaugment", image.numpy(), row))


def test_operations_and_magnitudes_are_torchvisions_for_images_of_any_size():
    own = v2.RandAugment()
    assert (own.num_ops, own.magnitude) == (2, 9)
    assert [operation.name for operation in OPERATIONS] == list(own._AUGMENTATION_SPACE)
    for operation in OPERATIONS:
        magnitudes_of, is_signed = own._AUGMENTATION_SPACE[operation.name]
        assert operation.is_signed == is_signed
        for height, width in ((4, 9), (32, 32), (331, 224), (97, 662)):
            magnitudes = magnitudes_of(own.num_magnitude_bins, height, width)
            whole = int if operation.name.startswith("Translate") else round if operation.name == "Posterize" else float
            assert whole(operation.amount(height, width)) == whole(0 if magnitudes is None else magnitudes[own.magnitude].item())


def test_two_operations_follow_one_another_and_images_never_mix():
    images = some_images(300)
    codes = draw_epoch(1, 1, 300, "randaugment").edits
    found = rand_augmented(images, codes)
    assert len(np.unique(codes)) == 2 * len(OPERATIONS)
    for image, row, one in zip(images, codes, found, strict=True):
        np.testing.assert_array_equal(one, edited("randaugment", image.numpy(), row))
    assert torch.equal(rand_augmented(images[7:8], codes[7:8])[0], found[7])
    assert found.is_contiguous()
    assert torch.equal(images, some_images(300))


@pytest.mark.parametrize(("height", "width", "side"), [(32, 32, 16), (28, 37, 14), (9, 64, 4)])
def test_cutout_covers_a_square_around_any_pixel_as_far_as_it_lies_in_the_image(height, width, side):
    images = some_images(1, height, width).expand(height * width, -1, -1, -1)
    centres = np.stack(np.unravel_index(np.arange(height * width), (height, width)), 1)
    found = cut_out(images, centres, torch.tensor(FILL, dtype=torch.uint8))
    for centre, one in zip(centres, found, strict=True):
        np.testing.assert_array_equal(one, edited("cutout", images[0].numpy(), centre))
    n_covered = (found != images[0]).any(-1).sum((1, 2))
    assert n_covered.max() == side**2
    assert n_covered.min() == (side // 2) ** 2


@pytest.mark.parametrize("kind", ["lanes", "operators"])
@pytest.mark.parametrize("policy", POLICIES)
def test_a_batch_holds_its_images_cropped_flipped_changed_and_then_normalised(dataset, kind, policy, monkeypatch):
    monkeypatch.setattr("sweeper.training.device_data.EDITED_BYTES", 60 * 32 * 32 * 3)  # two batches of 24 at a time
    levels = normalised_levels(dataset.mean, dataset.std)
    net = ConvNet(32, 32, 10)
    backend = Lanes(net, levels) if kind == "lanes" else Grouped(net, levels, torch.device("cpu"))
    data = DeviceData(dataset, settings(), backend, torch.device("cpu"))
    streams = [(2, 3, policy)] if kind == "lanes" else [(1, 3, "crop_flip"), (2, 3, policy), (2, 4, "none")]
    parts = list(data.parts(data.draw(streams), 24))
    assert len(parts) == (5 if "cutout" in policy or "rand" in policy else 1) if kind == "lanes" else len(parts) in {1, 9}
    batches = [chosen for part in parts for chosen in part.batches(24)]
    assert [chosen.index.shape[1] for chosen in batches] == [24] * 8 + [8]
    for row, (seed, epoch, of_stream) in enumerate(streams):
        draws, position = draw_epoch(seed, epoch, 200, of_stream, (32, 32)), 0
        for chosen in batches:
            batch, n = data.training_batch(chosen), chosen.index.shape[1]
            images = as_images(batch.images, n, 32, 32) if kind == "lanes" else batch.images[row]
            for index, found in zip(chosen.index[row], images, strict=True):
                image = augmented(dataset.train_images[index], draws.offsets[position].tolist(), bool(draws.flips[position]))
                if draws.edits is not None:
                    image = edited(of_stream, image, draws.edits[position])
                torch.testing.assert_close(found, normalised(dataset, image), rtol=0, atol=2e-6)
                position += 1
            np.testing.assert_array_equal(batch.labels[row], dataset.train_labels[chosen.index[row]])
