"""The batches of one's own loop as a data set of the protocol, read in their order when somebody asks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from plastibench.data.dataset import Batch, Dataset, batch_bounds
from plastibench.errors import RequestError
from plastibench.standalone import nested

Batches = Iterable[Any]
"""Yields (inputs, targets), or mappings with the targets under `labels`."""


class BatchSource:
    """Batches that can be read any number of times, one after the other."""

    def __init__(self, batches: Batches, device: torch.device) -> None:
        """Keep what can be read only once in memory. Raises RequestError for what is no iterable."""
        if not isinstance(batches, Iterable):
            raise RequestError(
                f"batches={type(batches).__name__} is not allowed: give an iterable of (inputs, targets), "
                "such as a DataLoader or a list"
            )
        self.batches = list(batches) if isinstance(batches, Iterator) else batches
        self.device = device
        self.on_read: Callable[[int], object] = lambda num_examples: None
        """Called with the size of each batch that is read."""
        self._first: tuple[Any, Any] | None = None
        self._size: int | None = None

    def first(self) -> tuple[Any, Any]:
        """Return the first batch. Raises RequestError if there is none."""
        if self._first is None:
            self._first = next(iter(self), None)
        if self._first is None:
            raise RequestError("batches is empty: it must yield (inputs, targets)")
        return self._first

    def batch_size(self) -> int:
        """Return the number of examples of a batch, as a loader has it or the first batch."""
        if isinstance(self.batches, DataLoader) and self.batches.batch_size is not None:
            return self.batches.batch_size
        return nested.num_examples(self.first()[0])

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        for batch in self.batches:
            x, y = _pair(batch)
            self.on_read(nested.num_examples(x))
            yield nested.on_device((x, y), self.device)

    def num_examples(self) -> int:
        """Return the number of examples: by a pass over the batches, unless a loader knows it."""
        loader = self.batches
        if isinstance(loader, DataLoader) and loader.batch_size and not _is_stream(loader):
            size = len(loader.sampler)  # type: ignore[arg-type]
            return size - size % loader.batch_size if loader.drop_last else size
        if self._size is None:
            self._size = sum(nested.num_examples(_pair(batch)[0]) for batch in self.batches)
        return self._size

    def num_batches(self) -> int:
        """Return the number of batches."""
        try:
            return len(self.batches)  # type: ignore[arg-type]
        except TypeError:
            return sum(1 for _ in self.batches)

    def pieces(self, start: int, end: int) -> Iterator[tuple[Any, Any]]:
        """Yield examples [start, end) in the batches in which they come, cut where the range ends."""
        position = 0
        for x, y in self:
            size = nested.num_examples(x)
            low, high = max(start - position, 0), min(end - position, size)
            if low < high:
                whole = (low, high) == (0, size)
                yield (x, y) if whole else (nested.part(x, low, high), nested.part(y, low, high))
            position += size
            if position >= end:
                return


@dataclass(frozen=True, eq=False)
class OwnData(Dataset):
    """Examples [start, end) of one's own batches."""

    source: BatchSource
    start: int = 0
    end: int | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one example. Raises RequestError if the inputs are no tensor."""
        x, _ = self.source.first()
        if not isinstance(x, Tensor):
            raise RequestError(
                f"the model cannot be followed through inputs of type {type(x).__name__}, only through one "
                "tensor: give head_name or hidden_units, whichever is asked for"
            )
        return tuple(x.shape[1:])

    def __len__(self) -> int:
        end = self.source.num_examples() if self.end is None else self.end
        return end - self.start

    def __getitem__(self, part: slice) -> Self:
        start, end, _ = part.indices(len(self))
        return replace(self, start=self.start + start, end=self.start + max(start, end))

    def take(self, indices: Tensor) -> Self:
        """Refuse: batches are read in their order."""
        raise RequestError("examples of batches cannot be taken one by one: they are read in their order")

    def batches(
        self, size: int, order: Tensor | None = None, augment: torch.Generator | None = None
    ) -> Iterator[Batch]:
        """Yield every example once, in batches of `size`.

        Examples that are no tensors, or differ in shape, come in the batches in which the source has them.
        """
        assert order is None, "batches are read in their order"
        for x, y in self._joined(size):
            yield x, nested.NoTargets(nested.num_examples(x)) if y is None else y  # type: ignore[misc]

    def _joined(self, size: int) -> Iterator[tuple[Any, Any]]:
        sizes = [high - low for low, high in batch_bounds(len(self), size)]
        kept: list[tuple[Any, Any]] = []
        for piece in self.source.pieces(self.start, self.start + len(self)):
            if not _can_be_joined([*kept, piece]):
                yield from kept
                kept, sizes = [], []  # from here on as they come
            kept.append(piece)
            while kept and sizes and _size(kept) >= sizes[0]:
                batch, kept = _cut(kept, sizes.pop(0))
                yield batch
            if not sizes:
                yield from kept
                kept = []


def _is_stream(loader: DataLoader[Any]) -> bool:
    return isinstance(loader.dataset, IterableDataset)


def _pair(batch: object) -> tuple[Any, Any]:
    """Return inputs and targets."""
    if isinstance(batch, Mapping):
        return batch, batch.get("labels")
    if isinstance(batch, list | tuple) and len(batch) == 2:
        return batch[0], batch[1]
    raise RequestError(
        f"batches must yield pairs (inputs, targets), or mappings with `labels`, not {type(batch).__name__}"
    )


def _size(pieces: list[tuple[Any, Any]]) -> int:
    return sum(nested.num_examples(x) for x, _ in pieces)


def _can_be_joined(pieces: list[tuple[Any, Any]]) -> bool:
    return all(nested.can_be_joined([one[place] for one in pieces]) for place in (0, 1))


def _cut(pieces: list[tuple[Any, Any]], size: int) -> tuple[tuple[Any, Any], list[tuple[Any, Any]]]:
    """Return a batch of `size` examples, and what is left."""
    x, y = (nested.joined([one[part] for one in pieces]) for part in (0, 1))
    total = nested.num_examples(x)
    if total == size:
        return (x, y), []
    batch = nested.part(x, 0, size), nested.part(y, 0, size)
    return batch, [(nested.part(x, size, total), nested.part(y, size, total))]
