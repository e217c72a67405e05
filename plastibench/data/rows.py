"""Rows of numbers with their labels, in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from plastibench.data.augment import Compose
from plastibench.data.dataset import Batch, TensorDataset, batch_bounds, update_digest
from plastibench.data.images import DatasetSplits
from plastibench.errors import RequestError


@dataclass(frozen=True, eq=False)
class LabeledRows:
    """Rows of numbers with their labels, on the CPU."""

    x: Tensor
    """Shape (n, features), float64."""
    y: Tensor
    """Shape (n,), int64, from 0."""

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True, eq=False)
class InMemoryRows(TensorDataset):
    """Prepared rows in the memory of the device.

    x has the shape (n, features), float32, and is normalized if the recipe says so.
    """

    augmentation: ClassVar[Compose] = Compose()
    """None: a recipe with augment=true is refused."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one row: (features,)."""
        return tuple(self.x.shape[1:])

    def with_pixels(self, order: Tensor) -> Self:
        """Raise RequestError."""
        raise RequestError("rows of numbers have no pixels to reorder: this regime needs images")

    def batches(
        self, size: int, order: Tensor | None = None, augment: torch.Generator | None = None
    ) -> Iterator[Batch]:
        """Yield every row once, in batches of `size`, without waiting for the device."""
        order = None if order is None else order.to(self.x.device, non_blocking=True)
        for start, end in batch_bounds(len(self), size):
            selected = slice(start, end) if order is None else order[start:end]
            yield self.x[selected].clone(), self.y[selected]


def row_splits(
    name: str, train: LabeledRows, test: LabeledRows, device: torch.device, *, normalize: bool
) -> DatasetSplits:
    """Return data sets that keep rows on `device`, if wanted normalized with the training rows' statistics.

    Each feature gets a mean of 0 and a standard deviation of 1 over the training rows; one that is the same
    in all of them becomes 0 there.
    """
    mean, std = train.x.mean(0), train.x.std(0, correction=0)
    std = torch.where(train.x.amin(0) == train.x.amax(0), 1.0, std)

    def dataset(rows: LabeledRows) -> InMemoryRows:
        x = (rows.x - mean) / std if normalize else rows.x
        return InMemoryRows(x.to(device, torch.float32), rows.y.to(device))

    state = hashlib.sha256()
    for part in (train, test):
        update_digest(state, part.x, part.y)
    return DatasetSplits(name, dataset(train), dataset(test), int(train.y.max()) + 1, state.hexdigest())
