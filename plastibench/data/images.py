"""Decoded images and their labels, in memory."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self
from weakref import WeakKeyDictionary, ref

import numpy as np
import torch
from torch import Tensor

from plastibench.data.augment import Augmentation, Compose
from plastibench.data.dataset import Dataset, InMemoryDataset, update_digest
from plastibench.errors import DataError, count


@dataclass(frozen=True, eq=False)
class LabeledImages:
    """Decoded images with their labels, on the CPU."""

    x: Tensor
    """Shape (n, c, h, w), uint8."""
    y: Tensor
    """Shape (n,), int64, from 0."""
    left_out: tuple[str, ...] = ()
    """Files of the data set that could not be decoded, with the reasons."""

    def __post_init__(self) -> None:
        if self.x.dtype != torch.uint8 or self.x.ndim != 4:
            raise TypeError(
                f"images must be uint8 of shape (n, c, h, w), not {self.x.dtype} {tuple(self.x.shape)}"
            )
        if self.y.dtype != torch.int64 or self.y.shape != self.x.shape[:1]:
            raise TypeError(f"labels must be int64, one per image, not {self.y.dtype} {tuple(self.y.shape)}")

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True, eq=False)
class DatasetSplits:
    """The training and the test part of a data set."""

    name: str
    train: Dataset
    test: Dataset
    num_classes: int
    _checksum: str = ""
    """Computed before the data were moved to a device, from which they would have to be copied."""
    left_out: tuple[str, ...] = ()
    """Files that are in neither part because they could not be decoded, with the reasons."""

    @cached_property
    def checksum(self) -> str:
        """Return the SHA-256, hexadecimal, of both parts' content, computed from the data themselves."""
        if self._checksum:
            return self._checksum
        state = hashlib.sha256()
        for part in (self.train, self.test):
            part.update_digest(state)
        return state.hexdigest()

    def require_classes(self, num_classes: int) -> Self:
        """Return self. Raises DataError if the number of classes is another one."""
        if self.num_classes != num_classes:
            raise DataError(
                f"{self.name} has {count(self.num_classes, 'class', 'classes')}, not {num_classes}; "
                f"ask for classes={self.num_classes}, or choose another data folder"
            )
        return self


Normalization = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation of each channel, in units of a pixel in [0, 1]."""


def channel_statistics(images: LabeledImages) -> Normalization:
    """Return the mean and the population standard deviation of each channel, in [0, 1] units.

    They are exact up to the last rounding, since they are computed from a histogram of the 256 values.
    """
    values = np.arange(256, dtype=np.int64)
    means, deviations = [], []
    for channel in range(images.x.shape[1]):
        counts = torch.bincount(images.x[:, channel].reshape(-1), minlength=256).numpy()
        total = int(counts.sum())
        first, second = int(counts @ values), int(counts @ values**2)
        means.append(first / total / 255)
        # total * second - first**2 is an exact integer: no cancellation of rounded numbers.
        deviations.append((total * second - first**2) ** 0.5 / total / 255)
    return tuple(means), tuple(deviations)


_checksums: WeakKeyDictionary[LabeledImages, dict[tuple[Any, ...], str]] = WeakKeyDictionary()
"""By the first part; the keys are weak references to all parts and torch's counters of writes to them."""


def checksum(*parts: LabeledImages) -> str:
    """Return the SHA-256 of shapes, pixels and labels, hexadecimal; of the same parts it is computed once."""
    known = _checksums.setdefault(parts[0], {})
    key = tuple((ref(part), part.x._version, part.y._version) for part in parts)
    if key not in known:
        state = hashlib.sha256()
        for part in parts:
            update_digest(state, part.x, part.y)
        known[key] = state.hexdigest()
    return known[key]


def in_memory_splits(
    name: str,
    train: LabeledImages,
    test: LabeledImages,
    device: torch.device,
    *,
    normalization: Normalization | None = None,
    augmentation: Augmentation | None = None,
) -> DatasetSplits:
    """Return data sets that keep the bytes on `device`, and normalize and augment batches there.

    Without a normalization pixels stay in [0, 1]. Only training images are augmented. Raises DataError if a
    class has no training image or a test label has no class.
    """
    num_classes = _num_classes(name, train, test)
    mean, std = (
        torch.tensor(numbers, dtype=torch.float32).view(-1, 1, 1).to(device)
        for numbers in normalization or ((0.0,) * train.x.shape[1], (1.0,) * train.x.shape[1])
    )

    std = torch.where(std == 0, 1.0, std)  # of a channel that is the same everywhere

    def dataset(images: LabeledImages, augmentation: Augmentation) -> InMemoryDataset:
        return InMemoryDataset(images.x.to(device), images.y.to(device), mean, std, augmentation)

    return DatasetSplits(
        name=name,
        train=dataset(train, augmentation or Compose()),
        test=dataset(test, Compose()),
        num_classes=num_classes,
        _checksum=checksum(train, test),
        left_out=train.left_out + test.left_out,
    )


def _num_classes(name: str, train: LabeledImages, test: LabeledImages) -> int:
    """Return the number of classes. Raises DataError if labels are not 0, 1, ... without a gap."""
    present = torch.unique(train.y).tolist()
    num_classes = len(present)
    if present != list(range(num_classes)) or num_classes < 2:
        raise DataError(f"the training labels of {name} are {present}; they must be 0, 1, ... without a gap")
    if len(test) and not 0 <= int(test.y.min()) <= int(test.y.max()) < num_classes:
        raise DataError(f"the test part of {name} has labels outside the {num_classes} training classes")
    return num_classes
