"""Data sets: examples in the order of their arrival, handed out as preprocessed batches on a device."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor

from plastibench.data.augment import Augmentation
from plastibench.data.checked import checked
from plastibench.distributed.ranks import Part, Ranks
from plastibench.errors import DataError

if TYPE_CHECKING:
    from hashlib import _Hash

Batch = tuple[Tensor, Tensor]
"""Examples, shape (b, c, h, w) of images, floating point and normalized; labels, shape (b,), int64."""


DIGEST_BLOCK = 4096
"""Examples that are copied from the device at once to compute a digest."""


def batch_bounds(num_examples: int, batch_size: int) -> list[tuple[int, int]]:
    """Return the [start, end) of each batch of an epoch.

    The last batch may be short. A last batch of one example is merged into the one before it, because batch
    normalization needs a variance.
    """
    starts = list(range(0, num_examples, batch_size))
    if len(starts) > 1 and num_examples - starts[-1] == 1:
        starts.pop()
    return list(zip(starts, [*starts[1:], num_examples], strict=True))


class Dataset(ABC):
    """Examples in a fixed order, that of their arrival."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Shape of one preprocessed example: (channels, height, width) of an image, (features,) of a row."""

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of examples."""

    @abstractmethod
    def __getitem__(self, part: slice) -> Self:
        """Return a contiguous part, without copying pixels."""

    @abstractmethod
    def take(self, indices: Tensor) -> Self:
        """Return the examples at `indices`, shape (m,) int64 on the CPU, in that order."""

    @abstractmethod
    def batches(
        self, size: int, order: Tensor | None = None, augment: torch.Generator | None = None
    ) -> Iterator[Batch]:
        """Yield every example once, in batches of `size`.

        `order`, shape (n,) int64 on the CPU, is the order of an epoch, by default that of arrival. `augment`
        is the CPU generator that augmentation draws from; without it images are not augmented.
        """

    def batches_of_rank(
        self,
        ranks: Ranks,
        size: int,
        order: Tensor | None = None,
        augment: torch.Generator | None = None,
        *,
        start: int = 0,
    ) -> Iterator[tuple[Tensor, Tensor, Part]]:
        """Return a rank's part of each batch that `batches` yields, and which part it is.

        `start` is the number of the first batch, as a resumed epoch needs it. Override it if a part costs
        less than the whole batch, or if the batches before the first one need not be prepared.
        """
        batches = checked(self, self.batches(size, order, augment))
        for _ in range(start):
            next(batches)
        return ((part.of(x), part.of(y), part) for x, y in batches for part in [ranks.part(len(y))])

    def labels(self) -> Tensor:
        """Return the labels, shape (n,) int64 on the CPU.

        Override it if something cheaper than a pass over all batches knows them.
        """
        return torch.cat([y.cpu() for _, y in checked(self, self.batches(DIGEST_BLOCK))])

    def with_labels(self, labels: Tensor) -> Self:
        """Return the same examples with other labels, shape (n,) int64 on the CPU."""
        raise DataError(f"{type(self).__name__} cannot be given other labels, which this regime needs")

    def with_pixels(self, order: Tensor) -> Self:
        """Return the examples with the pixels of each channel in another order, shape (h * w,) int64."""
        raise DataError(f"{type(self).__name__} cannot reorder pixels, which takes images in memory")

    def update_digest(self, state: _Hash) -> None:
        """Add the content of the examples to a digest: what makes two data sets different.

        Override it if something cheaper than a pass over all batches identifies the data.
        """
        for batch in checked(self, self.batches(DIGEST_BLOCK)):
            for tensor in batch:
                _update(state, tensor)


@dataclass(frozen=True, eq=False)
class TensorDataset(Dataset):
    """Examples and labels in the memory of the device."""

    x: Tensor
    """Shape (n, ...)."""
    y: Tensor
    """Shape (n,), int64."""

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, part: slice) -> Self:
        return replace(self, x=self.x[part], y=self.y[part])

    def take(self, indices: Tensor) -> Self:
        """Return a copy of the examples at `indices`, in that order."""
        indices = indices.to(self.x.device)
        return replace(self, x=self.x[indices], y=self.y[indices])

    def labels(self) -> Tensor:
        """Return the labels, shape (n,) int64 on the CPU."""
        return self.y.cpu()

    def with_labels(self, labels: Tensor) -> Self:
        """Return the same examples with other labels; inputs are shared."""
        return replace(self, y=labels.to(self.y.device))


@dataclass(frozen=True, eq=False)
class InMemoryDataset(TensorDataset):
    """Decoded images, kept as bytes in the memory of the device; x has the shape (n, c, h, w), uint8."""

    mean: Tensor
    """Shape (c, 1, 1), in units of a pixel in [0, 1]."""
    std: Tensor
    """Shape (c, 1, 1), in units of a pixel in [0, 1]."""
    augmentation: Augmentation

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one image: (channels, height, width)."""
        channels, height, width = self.x.shape[1:]
        return channels, height, width

    def with_pixels(self, order: Tensor) -> Self:
        """Return a copy of the images with their pixels in another order."""
        return replace(self, x=self.x.flatten(2)[:, :, order.to(self.x.device)].view_as(self.x))

    def update_digest(self, state: _Hash) -> None:
        """Add shape, pixels and labels."""
        update_digest(state, self.x, self.y)

    def batches(
        self, size: int, order: Tensor | None = None, augment: torch.Generator | None = None
    ) -> Iterator[Batch]:
        """Yield every example once, in batches of `size`, without waiting for the device."""
        device = self.x.device
        order = None if order is None else order.to(device, non_blocking=True)
        draws = None if augment is None else self.augmentation.draw(len(self), self.shape, augment).to(device)
        for start, end in batch_bounds(len(self), size):
            selected = slice(start, end) if order is None else order[start:end]
            images = self.x[selected].to(self.mean.dtype).div_(255)
            if draws is not None:
                # Before normalization: what a crop or a rotation uncovers is black, as in torchvision.
                images = self.augmentation.apply(images, draws[start:end])
            yield images.sub_(self.mean).div_(self.std), self.y[selected]


def update_digest(state: _Hash, x: Tensor, y: Tensor) -> None:
    """Add the shape and the content of images and labels to a digest."""
    state.update(repr(tuple(x.shape)).encode())
    for tensor in (x, y):
        for block in tensor.split(DIGEST_BLOCK):
            _update(state, block)


def _update(state: _Hash, tensor: Tensor) -> None:
    """Add the bytes of a tensor to a digest."""
    state.update(tensor.cpu().contiguous().view(torch.uint8).numpy().data)
