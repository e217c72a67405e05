"""Images streamed from files: decoded anew each epoch by worker processes, the same for any number."""

from __future__ import annotations

import functools
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor
from torch.utils import data

from plastibench.data.archives import FolderSource, decode
from plastibench.data.dataset import Batch, Dataset, batch_bounds
from plastibench.errors import DataError
from plastibench.system.cpu import num_cores

if TYPE_CHECKING:
    from PIL import Image

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's usual channel statistics, in units of a pixel in [0, 1]."""

WORKERS_VARIABLE = "PLASTIBENCH_DECODERS"
"""Environment variable: how many processes decode images; 0 decodes in the process that trains."""

_NOT_AUGMENTED = -1
_Key = tuple[str, int, int]
"""Name of a file, its label, and the seed of its augmentation or -1."""
_Sample = tuple[Tensor, int] | DataError


@dataclass(frozen=True, eq=False)
class Files:
    """The image files of one part of a data set."""

    root: Path
    names: tuple[str, ...]
    """Relative to the root, with forward slashes."""
    labels: Tensor
    """Shape (n,), int64."""


@dataclass(frozen=True, eq=False)
class StreamingDataset(Dataset):
    """Images read from files whenever they are needed, at one size.

    Augmented: a random resized crop and a flip. Else: the central square of an image whose shorter
    side is 256/224 of the size. Both are torchvision's, on Pillow images.
    """

    files: Files
    index: Tensor
    """Which of the files, in order of arrival, shape (n,) int64 on the CPU."""
    size: int
    """Side of a prepared image, in pixels."""
    device: torch.device
    workers: int
    """Processes that decode; 0 decodes in this one."""
    normalize: bool = True
    """Whether channels are shifted and scaled by ImageNet's statistics."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one prepared image: (channels, height, width)."""
        return 3, self.size, self.size

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.index)

    def __getitem__(self, part: slice) -> Self:
        """Return a contiguous part."""
        return replace(self, index=self.index[part])

    def take(self, indices: Tensor) -> Self:
        """Return the examples at `indices`, in that order."""
        return replace(self, index=self.index[indices.cpu()])

    def batches(
        self,
        size: int,
        order: Tensor | None = None,
        augment: torch.Generator | None = None,
    ) -> Iterator[Batch]:
        """Yield every example once, in batches of `size`; raise `DataError` at a damaged file.

        One seed an example is drawn from `augment`, by its position in the epoch, so images do not
        depend on the number of workers.
        """
        index = self.index if order is None else self.index[order.cpu()]
        if augment is None:
            seeds = torch.full((len(self),), _NOT_AUGMENTED)
        else:
            seeds = torch.randint(torch.iinfo(torch.int64).max, (len(self),), generator=augment)
        mean, std = (torch.tensor(numbers).view(3, 1, 1).to(self.device) for numbers in self._channels())
        for loaded in self._loader(_Epoch(self.files, index, seeds, size)):
            if isinstance(loaded, DataError):
                raise loaded
            pixels, labels = (part.to(self.device, non_blocking=True) for part in loaded)
            yield pixels.to(torch.float32).div_(255).sub_(mean).div_(std), labels

    def _channels(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        return (MEAN, STD) if self.normalize else ((0.0,) * 3, (1.0,) * 3)

    def _loader(self, epoch: _Epoch) -> data.DataLoader[_Sample]:
        # With a generator of its own: a loader would else draw from torch's global one.
        return data.DataLoader(
            _Decoder(self.files.root, self.size),
            batch_sampler=epoch,
            num_workers=min(self.workers, epoch.num_batches),
            collate_fn=_collate,
            pin_memory=self.device.type == "cuda",
            generator=torch.Generator().manual_seed(0),
            multiprocessing_context=_context() if self.workers and epoch.num_batches else None,
        )


@dataclass(frozen=True, eq=False)
class _Epoch:
    """The batches of an epoch as keys, so that workers need not know the whole listing."""

    files: Files
    index: Tensor
    seeds: Tensor
    size: int

    @property
    def num_batches(self) -> int:
        return len(batch_bounds(len(self.index), self.size)) if len(self.index) else 0

    def __iter__(self) -> Iterator[list[_Key]]:
        if not len(self.index):
            return
        for start, end in batch_bounds(len(self.index), self.size):
            where = self.index[start:end]
            labels = self.files.labels[where].tolist()
            names = (self.files.names[number] for number in where.tolist())
            yield list(zip(names, labels, self.seeds[start:end].tolist(), strict=True))


class _Decoder(data.Dataset[_Sample]):
    """Turns keys into images; all that is sent to a worker process."""

    def __init__(self, root: Path, size: int) -> None:
        self._source = FolderSource(root)
        self._size = size

    def __getitem__(self, key: _Key) -> _Sample:
        name, label, seed = key
        try:
            image = decode(self._source.read(name), str(self._source.where / name))
        except DataError as error:
            # Given back, not raised: a worker would wrap the sentence in its traceback.
            return error
        if seed == _NOT_AUGMENTED:
            return _plain(self._size)(image), label
        before = torch.get_rng_state()
        # The CPU's generator only: torch.manual_seed would also set the device's.
        torch.default_generator.manual_seed(seed)
        try:
            return _augmented(self._size)(image), label
        finally:
            torch.set_rng_state(before)


def _collate(samples: list[_Sample]) -> tuple[Tensor, Tensor] | DataError:
    """Return a batch of bytes and labels, or the first thing that went wrong."""
    images, labels = [], []
    for sample in samples:
        if isinstance(sample, DataError):
            return sample
        images.append(sample[0])
        labels.append(sample[1])
    return torch.stack(images), torch.tensor(labels, dtype=torch.int64)


@functools.cache
def _augmented(size: int) -> Callable[[Image.Image], Tensor]:
    """Return the training transform: a Pillow image to (3, size, size) uint8."""
    from torchvision.transforms import v2

    transform: Callable[[Image.Image], Tensor] = v2.Compose(
        [v2.RandomResizedCrop(size), v2.RandomHorizontalFlip(), v2.PILToTensor()]
    )
    return transform


@functools.cache
def _plain(size: int) -> Callable[[Image.Image], Tensor]:
    """Return the test transform: a Pillow image to (3, size, size) uint8."""
    from torchvision.transforms import v2

    transform: Callable[[Image.Image], Tensor] = v2.Compose(
        [v2.Resize(round(size * 256 / 224)), v2.CenterCrop(size), v2.PILToTensor()]
    )
    return transform


def _context() -> BaseContext:
    """Return how workers are started: not by fork, which copies locks that the device's threads hold."""
    if sys.platform == "win32":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "torchvision.transforms.v2"])
    return context


def usual_workers() -> int:
    """Return the number of worker processes: `PLASTIBENCH_DECODERS`, or one a core, at most 16."""
    chosen = os.environ.get(WORKERS_VARIABLE)
    if chosen is None:
        return min(num_cores(), 16)
    if not chosen.isdecimal():
        raise DataError(f"{WORKERS_VARIABLE} is {chosen!r}; it must be a number of processes, 0 or more")
    return int(chosen)
