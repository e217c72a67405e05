"""Images streamed from files: worker processes decode them each epoch, the same for any number of workers."""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor
from torch.utils import data

from plastibench.data.dataset import Batch, Dataset, batch_bounds
from plastibench.data.image_files import FolderSource, ImageFiles, decode_image
from plastibench.distributed.ranks import Part, Ranks
from plastibench.errors import DataError
from plastibench.system.cpu import num_cores
from plastibench.system.processes import helper_context, serve_parent_alone

if TYPE_CHECKING:
    from hashlib import _Hash

    from PIL import Image

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's usual channel statistics, in units of a pixel in [0, 1]."""

WORKERS_VARIABLE = "PLASTIBENCH_DECODERS"
"""Environment variable with the number of processes that decode images; 0 decodes in the training process."""

_WARNED: set[str] = set()
"""Messages of which this process has warned."""
_NOT_AUGMENTED = -1
_Key = tuple[str, int, int]
"""Name of a file, its label, and the seed of its augmentation or -1."""
_Sample = tuple[Tensor, int, frozenset[str]] | DataError
"""An image (height, width, channels), its label, and what the decoder warned of."""
_LoadedBatch = tuple[Tensor, Tensor, frozenset[str]] | DataError


@dataclass(frozen=True, eq=False)
class StreamingDataset(Dataset):
    """Images that are read from files whenever they are needed, at one size.

    Augmented images get a random resized crop and a flip. Others are resized, so that the shorter side is
    256/224 of the size, and cropped to the central square. Both are torchvision's, on Pillow images.
    """

    root: Path
    files: ImageFiles
    """Relative to the root."""
    index: Tensor
    """Which of the files, in order of arrival, shape (n,) int64 on the CPU."""
    size: int
    """Side of a preprocessed image, in pixels."""
    device: torch.device
    num_workers: int
    """Processes that decode; 0 decodes in this one."""
    normalize: bool = True
    """Whether to normalize with ImageNet's channel statistics."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one preprocessed image: (channels, height, width)."""
        return 3, self.size, self.size

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, part: slice) -> Self:
        return replace(self, index=self.index[part])

    def take(self, indices: Tensor) -> Self:
        """Return the examples at `indices`, in that order."""
        return replace(self, index=self.index[indices.cpu()])

    def labels(self) -> Tensor:
        """Return the labels, shape (n,) int64 on the CPU."""
        return self.files.labels[self.index]

    def with_labels(self, labels: Tensor) -> Self:
        """Return the same examples with other labels; no file may be among them twice."""
        changed = self.files.labels.clone()
        changed[self.index] = labels.cpu()
        return replace(self, files=replace(self.files, labels=changed))

    def with_pixels(self, order: Tensor) -> Self:
        """Raise DataError: decoded images are not kept."""
        raise DataError(
            "the pixels of images that are streamed from files cannot be reordered: choose a resolution at "
            "which they are kept in memory"
        )

    def update_digest(self, state: _Hash) -> None:
        """Add labels, names and sizes of the files and the contents of some: reading all takes an epoch."""
        state.update(self.files.labels[self.index].numpy().astype("<i8").data)
        names = [self.files.names[position] for position in self.index.tolist()]
        state.update(FolderSource(self.root).digest(names, times=False).encode())

    def batches(
        self, size: int, order: Tensor | None = None, augment: torch.Generator | None = None
    ) -> Iterator[Batch]:
        """Yield every example once, in batches of `size`. Raises DataError for a damaged file.

        One seed per example is drawn from `augment`, by its position in the epoch, so that images do not
        depend on the number of workers.
        """
        yield from self._load(self._bounds(size), order, augment)

    def batches_of_rank(
        self,
        ranks: Ranks,
        size: int,
        order: Tensor | None = None,
        augment: torch.Generator | None = None,
        *,
        start: int = 0,
    ) -> Iterator[tuple[Tensor, Tensor, Part]]:
        """Yield a rank's part of each batch from number `start` on, and decode nothing else."""
        bounds = self._bounds(size)[start:]
        parts = [ranks.part(end - first) for first, end in bounds]
        own = [(first + part.start, first + part.end) for (first, _), part in zip(bounds, parts, strict=True)]
        for (x, y), part in zip(self._load(own, order, augment), parts, strict=True):
            yield x, y, part

    def _bounds(self, size: int) -> list[tuple[int, int]]:
        return batch_bounds(len(self), size) if len(self) else []

    def _load(
        self, bounds: list[tuple[int, int]], order: Tensor | None, augment: torch.Generator | None
    ) -> Iterator[Batch]:
        """Yield the examples at the positions of the epoch that `bounds` gives."""
        index = self.index if order is None else self.index[order.cpu()]
        if augment is None:
            seeds = torch.full((len(self),), _NOT_AUGMENTED)
        else:
            seeds = torch.randint(torch.iinfo(torch.int64).max, (len(self),), generator=augment)
        statistics = (MEAN, STD) if self.normalize else ((0.0,) * 3, (1.0,) * 3)
        mean, std = (torch.tensor(numbers).view(3, 1, 1).to(self.device) for numbers in statistics)
        for pixels, labels in self._decoded(self._keys(index, seeds, bounds), len(bounds)):
            # Channels first only now: workers copy whole images into a batch, the device rearranges it.
            images = pixels.to(self.device, non_blocking=True).permute(0, 3, 1, 2).contiguous()
            prepared = images.to(torch.float32).div_(255).sub_(mean).div_(std)
            yield prepared, labels.to(self.device, non_blocking=True)

    def _decoded(self, keys: Iterator[list[_Key]], num_batches: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield batches (b, height, width, channels) of bytes and their labels, as workers make them."""
        try:
            for loaded in self._loader(keys, min(self.num_workers, num_batches)):
                if isinstance(loaded, DataError):
                    raise loaded
                pixels, labels, messages = loaded
                _warn_once(messages)
                yield pixels, labels
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise RuntimeError(
                "a process that decodes images was killed, perhaps as memory ran out: the same command "
                f"continues the run, with fewer of them if {WORKERS_VARIABLE} is set ({error})"
            ) from error

    def _keys(self, index: Tensor, seeds: Tensor, bounds: list[tuple[int, int]]) -> Iterator[list[_Key]]:
        """Yield the batches of an epoch as keys, so that workers need not know the whole listing."""
        for start, end in bounds:
            part = index[start:end]
            names = (self.files.names[position] for position in part.tolist())
            yield list(zip(names, self.files.labels[part].tolist(), seeds[start:end].tolist(), strict=True))

    def _loader(self, keys: Iterator[list[_Key]], num_workers: int) -> data.DataLoader[_Sample]:
        return data.DataLoader(
            _Decoder(self.root, self.size),
            batch_sampler=keys,
            num_workers=num_workers,
            collate_fn=_collate,
            pin_memory=self.device.type == "cuda",
            # Otherwise the loader draws from torch's global generator.
            generator=torch.Generator().manual_seed(0),
            multiprocessing_context=_context() if num_workers else None,
            worker_init_fn=_init_decoder,
        )


class _Decoder(data.Dataset[_Sample]):
    """Decodes and transforms the images of keys; this is all that is sent to a worker process."""

    def __init__(self, root: Path, size: int) -> None:
        self._source = FolderSource(root)
        self._size = size

    def __getitem__(self, key: _Key) -> _Sample:
        name, label, seed = key
        try:
            with warnings.catch_warnings(record=True) as caught:
                image = decode_image(self._source.read(name), str(self._source.path / name))
        except DataError as error:
            # Returned, not raised: a worker would wrap the sentence in its traceback.
            return error
        return self._transformed(image, seed), label, frozenset(str(each.message) for each in caught)

    def _transformed(self, image: Image.Image, seed: int) -> Tensor:
        if seed == _NOT_AUGMENTED:
            return _transform(self._size, augmented=False)(image)
        state = torch.get_rng_state()
        # The CPU's generator only: torch.manual_seed would also seed the device's.
        torch.default_generator.manual_seed(seed)
        try:
            return _transform(self._size, augmented=True)(image)
        finally:
            torch.set_rng_state(state)


def _collate(samples: list[_Sample]) -> _LoadedBatch:
    """Return a batch of bytes, labels and warnings, or the first error."""
    loaded = []
    for sample in samples:
        if isinstance(sample, DataError):
            return sample
        loaded.append(sample)
    images, labels, messages = zip(*loaded, strict=True)
    return torch.stack(images), torch.tensor(labels, dtype=torch.int64), frozenset().union(*messages)


def _warn_once(messages: frozenset[str]) -> None:
    """Warn of what the decoders warned of, once a process, and not once a decoder and epoch."""
    for message in sorted(messages - _WARNED):
        warnings.warn(message, stacklevel=2)
    _WARNED.update(messages)


@functools.cache
def _transform(size: int, *, augmented: bool) -> Callable[[Image.Image], Tensor]:
    """Return the transform of a Pillow image to (size, size, 3) uint8."""
    from torchvision.transforms import v2

    train = [v2.RandomResizedCrop(size), v2.RandomHorizontalFlip()]
    test = [v2.Resize(round(size * 256 / 224)), v2.CenterCrop(size)]
    transform: Callable[[Image.Image], Tensor] = v2.Compose(
        [*(train if augmented else test), v2.PILToTensor(), v2.Lambda(_channels_last)]
    )
    return transform


def _channels_last(image: Tensor) -> Tensor:
    """Return an image (c, h, w) as (h, w, c), as Pillow keeps it in memory: nothing is copied."""
    return image.permute(1, 2, 0)


def _context() -> BaseContext:
    """Return how to start workers: not with fork, which copies locks that the device's threads hold."""
    return helper_context([__name__, "torchvision.transforms.v2"])


def _init_decoder(number: int) -> None:
    """Prepare a process that decodes: it ends when the training process does, and not before."""
    serve_parent_alone()


def default_num_workers() -> int:
    """Return the number of worker processes: `PLASTIBENCH_DECODERS`, or one per core, at most 16."""
    text = os.environ.get(WORKERS_VARIABLE)
    if text is None:
        return min(num_cores(), 16)
    if not text.isdecimal():
        raise DataError(f"{WORKERS_VARIABLE} is {text!r}; it must be a number of processes, 0 or more")
    return int(text)
