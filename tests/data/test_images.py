"""Statistics, checksums and the move to a device."""

from __future__ import annotations

import hashlib

import pytest
import torch

from plastibench.data.augment import Compose, RandomHorizontalFlip
from plastibench.data.dataset import InMemoryDataset
from plastibench.data.images import (
    DatasetSplits,
    LabeledImages,
    channel_statistics,
    checksum,
    in_memory_splits,
)
from plastibench.errors import DataError

CPU = torch.device("cpu")


def made(labels: list[int], seed: int = 0, channels: int = 3) -> LabeledImages:
    numbers = torch.Generator().manual_seed(seed)
    shape = (len(labels), channels, 5, 4)
    return LabeledImages(
        torch.randint(0, 256, shape, dtype=torch.uint8, generator=numbers),
        torch.tensor(labels, dtype=torch.int64),
    )


def test_channel_statistics() -> None:
    images = made(list(range(50)))
    mean, std = channel_statistics(images)
    pixels = images.x.double().div(255).transpose(0, 1).reshape(3, -1)
    assert mean == pytest.approx(pixels.mean(1).tolist(), rel=1e-14)
    assert std == pytest.approx(pixels.std(1, correction=0).tolist(), rel=1e-13)


def test_images_are_normalized() -> None:
    train, test = made([0, 1, 2, 0]), made([2, 1], seed=1)
    found = in_memory_splits(
        "set",
        train,
        test,
        CPU,
        normalization=channel_statistics(train),
        augmentation=RandomHorizontalFlip(),
    )
    x, y = next(found.train.batches(4))
    assert torch.allclose(x.mean((0, 2, 3)), torch.zeros(3), atol=1e-6)
    assert torch.allclose(x.var((0, 2, 3), correction=0), torch.ones(3), atol=1e-5)
    assert y.tolist() == [0, 1, 2, 0]
    assert isinstance(found.train, InMemoryDataset)
    assert isinstance(found.test, InMemoryDataset)
    assert (found.train.augmentation, found.test.augmentation) == (RandomHorizontalFlip(), Compose())
    assert (found.name, found.num_classes) == ("set", 3)


def test_without_normalization_pixels_stay_in_the_unit_range() -> None:
    train = made([0, 1], channels=1)
    found = in_memory_splits("set", train, train, CPU)
    x, _ = next(found.train.batches(2))
    assert torch.equal(x, train.x.float().div(255))


def test_checksum_sees_every_pixel_and_label() -> None:
    one, other = made([0, 1]), made([0, 1])
    assert checksum(one, other) == checksum(other, one)
    other.x[1, 2, 4, 3] ^= 1
    assert checksum(one) != checksum(other)
    assert checksum(one) != checksum(made([1, 0]))
    flat = LabeledImages(one.x.reshape(2, 3, 4, 5), one.y)
    assert checksum(one) != checksum(flat)
    expected = hashlib.sha256(b"(2, 3, 5, 4)" + one.x.numpy().tobytes() + one.y.numpy().tobytes())
    assert checksum(one) == expected.hexdigest()
    splits = in_memory_splits("set", one, other, CPU)
    assert splits.checksum == checksum(one, other)
    assert DatasetSplits("set", splits.train, splits.test, 2).checksum == splits.checksum


def test_checksum_does_not_depend_on_the_layout_in_memory() -> None:
    one = made([0, 1])
    strided = LabeledImages(one.x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2), one.y)
    assert checksum(one) == checksum(strided)


@pytest.mark.parametrize(("train", "test"), [([0, 2], [0]), ([0, 0], [0]), ([1, 2], [1]), ([0, 1], [2])])
def test_labels_with_gaps_are_refused(train: list[int], test: list[int]) -> None:
    with pytest.raises(DataError, match="set"):
        in_memory_splits("set", made(train), made(test), CPU)


def test_number_of_classes_is_checked() -> None:
    found = in_memory_splits("set", made([0, 1]), made([0]), CPU)
    assert found.require_classes(2) is found
    with pytest.raises(DataError, match="has 2 classes, not 12; ask for classes=2"):
        found.require_classes(12)


def test_wrong_types_are_refused() -> None:
    good = made([0, 1])
    with pytest.raises(TypeError, match="images must be uint8"):
        LabeledImages(good.x.float(), good.y)
    with pytest.raises(TypeError, match="labels must be int64, one per image"):
        LabeledImages(good.x, good.y[:1])
