"""Augmentation against torchvision, on the same parameters and in distribution."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional

from plastibench.data.augment import (
    Augmentation,
    Compose,
    RandomCrop,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomRotation,
)
from plastibench.data.dataset import InMemoryDataset

EVERY = [
    Compose(),
    RandomHorizontalFlip(),
    RandomCrop(4),
    RandomRotation(15),
    RandomResizedCrop(20),
    RandomResizedCrop(),
    Compose((RandomCrop(2), RandomRotation(15), RandomHorizontalFlip(), RandomResizedCrop(12))),
]


def images(num: int = 40, height: int = 32, width: int = 32) -> Tensor:
    return torch.rand(num, 3, height, width, generator=torch.Generator().manual_seed(0))


def drawn(augmentation: Augmentation, num: int, shape: tuple[int, int, int], seed: int = 1) -> Tensor:
    return augmentation.draw(num, shape, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("augmentation", EVERY, ids=repr)
def test_every_augmentation_has_the_shapes_that_it_declares(augmentation: Augmentation) -> None:
    x = images(9, 24, 28)
    draws = drawn(augmentation, 9, (3, 24, 28))
    assert draws.shape == (9, augmentation.num_draws)
    assert draws.dtype == torch.float32
    before, state = x.clone(), torch.get_rng_state()
    out = augmentation.apply(x, draws)
    assert out.shape == (9, *augmentation.output_shape((3, 24, 28)))
    assert out.dtype == x.dtype
    assert torch.equal(x, before)
    assert torch.equal(torch.get_rng_state(), state)
    # An image is changed by its own row alone, wherever it stands in a batch.
    assert torch.allclose(augmentation.apply(x[4:6], draws[4:6]), out[4:6], atol=1e-6)
    again = drawn(augmentation, 9, (3, 24, 28))
    assert torch.equal(draws, again)


@pytest.mark.parametrize("augmentation", EVERY, ids=repr)
def test_nothing_leaves_the_range_of_pixels(augmentation: Augmentation) -> None:
    out = augmentation.apply(images(), drawn(augmentation, 40, (3, 32, 32)))
    assert -1e-6 <= float(out.min()) <= float(out.max()) <= 1 + 1e-5


@pytest.mark.parametrize("augmentation", EVERY, ids=repr)
def test_nothing_waits_for_the_device(augmentation: Augmentation) -> None:
    # The meta device has no values: whatever would read one, or branch on one, fails there.
    draws = drawn(augmentation, 9, (3, 32, 32)).to("meta")
    assert augmentation.apply(images(9).to("meta"), draws).device.type == "meta"


def test_flip_is_torchvisions() -> None:
    x, draws = images(), drawn(RandomHorizontalFlip(), 40, (3, 32, 32))
    out = RandomHorizontalFlip().apply(x, draws)
    flips = draws[:, 0] < 0.5
    assert 5 < int(flips.sum()) < 35
    for image, result, flip in zip(x, out, flips, strict=True):
        assert torch.equal(result, functional.horizontal_flip(image) if flip else image)


def test_crop_is_torchvisions() -> None:
    x, draws = images(40, 28, 32), drawn(RandomCrop(4), 40, (3, 28, 32))
    out = RandomCrop(4).apply(x, draws)
    for image, result, (top, left) in zip(x, out, draws.int().tolist(), strict=True):
        assert torch.equal(result, functional.crop(functional.pad(image, [4]), top, left, 28, 32))


def test_rotation_is_torchvisions() -> None:
    x, draws = images(200, 32, 30), drawn(RandomRotation(15), 200, (3, 32, 30))
    out = RandomRotation(15).apply(x, draws)
    expected = torch.stack(
        [
            functional.rotate(image, angle, InterpolationMode.NEAREST, fill=[0.0])
            for image, angle in zip(x, draws[:, 0].tolist(), strict=True)
        ]
    )
    differs = (out != expected).float().mean()
    assert differs < 1e-3
    # The corners are uncovered, and black.
    assert float((expected == 0).float().mean()) > 0.01


@pytest.mark.parametrize(("side", "size"), [(64, 64), (64, 20), (20, 64)])
def test_resized_crop_is_torchvisions(side: int, size: int) -> None:
    step = RandomResizedCrop(size)
    x, draws = images(40, side, side + 3), drawn(step, 40, (3, side, side + 3))
    out = step.apply(x, draws)
    quantised = (x * 255).to(torch.uint8)
    out_quantised = step.apply(quantised.float().div(255), draws)
    for number, (top, left, height, width) in enumerate(draws.int().tolist()):
        crop = (top, left, height, width, [size, size], InterpolationMode.BILINEAR, True)
        expected = functional.resized_crop(x[number], *crop)
        assert torch.allclose(out[number], expected, atol=1e-5)
        expected = functional.resized_crop(quantised[number], *crop).float().div(255)
        # Half a level for each axis, which torchvision resizes and rounds in turn.
        assert float((out_quantised[number] - expected).abs().max()) <= 1 / 255 + 1e-5


def test_draws_of_flip_crop_and_rotation_are_uniform() -> None:
    shape = (3, 32, 32)
    assert float((drawn(RandomHorizontalFlip(), 20_000, shape) < 0.5).float().mean()) == pytest.approx(
        0.5, abs=0.02
    )
    corners = drawn(RandomCrop(4), 20_000, shape)
    for axis in range(2):
        shares = torch.bincount(corners[:, axis].int(), minlength=9) / 20_000
        assert len(shares) == 9
        assert float((shares - 1 / 9).abs().max()) < 0.015
    both = (corners[:, 0] * 9 + corners[:, 1]).int()
    assert len(both.unique()) == 81
    angles = drawn(RandomRotation(15), 20_000, shape)[:, 0]
    assert float(angles.abs().max()) <= 15
    assert float(angles.mean()) == pytest.approx(0, abs=0.3)
    assert float(angles.std()) == pytest.approx(30 / math.sqrt(12), rel=0.02)


@pytest.mark.parametrize("ratio", [(3 / 4, 4 / 3), (0.2, 3.0)])
@pytest.mark.parametrize("shape", [(3, 64, 64), (3, 24, 64), (3, 96, 20)])
def test_resized_crops_are_distributed_as_torchvisions(
    shape: tuple[int, int, int], ratio: tuple[float, float]
) -> None:
    num = 3000
    theirs_step = v2.RandomResizedCrop(64, ratio=ratio)
    blank = torch.empty(shape)
    torch.manual_seed(0)
    made = [theirs_step.make_params([blank]) for _ in range(num)]
    theirs = torch.tensor([[p["top"], p["left"], p["height"], p["width"]] for p in made], dtype=torch.float32)
    ours = drawn(RandomResizedCrop(64, ratio=ratio), num, shape)
    assert torch.equal(ours, ours.round())
    assert bool((ours[:, 0] + ours[:, 2] <= shape[1]).all() and (ours[:, 1] + ours[:, 3] <= shape[2]).all())
    assert bool((ours[:, :2] >= 0).all() and (ours[:, 2:] > 0).all())
    for column in range(4):
        # Two-sample Kolmogorov-Smirnov distance; 0.05 is beyond the 0.1 % quantile at 3,000 and 3,000.
        edges = torch.arange(97)
        share = [(part[:, column, None] <= edges).float().mean(0) for part in (ours, theirs)]
        assert float((share[0] - share[1]).abs().max()) < 0.05


def test_impossible_crops_fall_back_to_the_central_one() -> None:
    # No crop of half the area of so wide an image has an allowed aspect ratio.
    step = RandomResizedCrop(8, scale=(0.9, 1.0))
    draws = drawn(step, 5, (3, 10, 100))
    assert draws.tolist() == [[0, 43, 10, 13]] * 5
    assert drawn(step, 2, (3, 100, 10)).tolist() == [[43, 0, 13, 10]] * 2


def test_compose_draws_for_the_shape_after_the_earlier_transforms() -> None:
    step = Compose((RandomResizedCrop(16), RandomResizedCrop(8)))
    draws = drawn(step, 200, (3, 64, 64))
    assert float((draws[:, 4] + draws[:, 6]).max()) <= 16
    assert step.apply(images(200, 64, 64), draws).shape == (200, 3, 8, 8)


def test_images_in_memory_are_augmented_by_position_in_the_epoch() -> None:
    x = (images(10) * 255).to(torch.uint8)
    zero, one = torch.zeros(3, 1, 1), torch.ones(3, 1, 1)
    step = Compose((RandomCrop(4), RandomHorizontalFlip()))
    data = InMemoryDataset(x, torch.arange(10), zero, one, step)
    order = torch.randperm(10, generator=torch.Generator().manual_seed(5))
    batches = list(data.batches(4, order, torch.Generator().manual_seed(1)))
    expected = step.apply(x[order].float().div(255), drawn(step, 10, (3, 32, 32)))
    assert torch.equal(torch.cat([part for part, _ in batches]), expected)
    assert torch.equal(torch.cat([labels for _, labels in batches]), order)
