"""The processes that train one run together, seen from one of them; usually there is one."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Size, Tensor

MIN_EXAMPLES = 2
"""Fewest examples of a batch that a rank takes: batch normalization needs a variance."""


@dataclass(frozen=True)
class Part:
    """What one rank takes of a batch: examples [start, end) of `total`."""

    start: int
    end: int
    total: int
    """Examples of the whole batch."""
    weight: float = 1.0
    """Of the rank's mean loss in that of the whole batch; those of all ranks add up to 1."""
    counts: bool = True
    """Whether this rank counts what is right in its part; of a batch that each one takes, the first does."""

    @property
    def is_split(self) -> bool:
        """Return whether other ranks take other examples."""
        return self.end - self.start < self.total

    def of(self, tensor: Tensor) -> Tensor:
        """Return the rank's examples of a tensor (total, ...) that holds the whole batch."""
        return tensor[self.start : self.end] if self.is_split else tensor

    def shape(self, tensor: Tensor) -> Size:
        """Return the shape that the whole batch has, given a part of it."""
        from torch import Size

        return Size((self.total, *tensor.shape[1:]))

    def weighted(self, loss: Tensor) -> Tensor:
        """Return a mean over the rank's examples as its share of the mean over the whole batch."""
        return loss if self.weight == 1.0 else loss * self.weight


class Ranks:
    """The ranks of a run. This class is a single one, which has nothing to exchange."""

    rank = 0
    """Number of this process, from 0; the first one alone writes."""
    size = 1
    """Number of processes, each with a device of its own."""

    def part(self, total: int) -> Part:
        """Return what this rank takes of a batch of `total` examples.

        Parts differ by one example at most. A batch with fewer than two for each rank is taken whole by all.
        """
        if self.size == 1:
            return Part(0, total, total)
        if total < MIN_EXAMPLES * self.size:
            return Part(0, total, total, 1 / self.size, counts=self.rank == 0)
        start, end = self.bounds(total)[self.rank]
        return Part(start, end, total, (end - start) / total)

    def bounds(self, total: int) -> list[tuple[int, int]]:
        """Return the [start, end) of each rank's part of a batch that is split."""
        return list(pairwise(position * total // self.size for position in range(self.size + 1)))

    def at(self, stage: int, epoch: int, step: int) -> None:
        """Say where the run is, in numbers from 0 on, for the message about a rank that does not come."""

    def sum_(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over the ranks, the same bits on all of them."""

    def gather(self, x: Tensor, part: Part) -> Tensor:
        """Return the whole batch (total, ...), given the part of each rank."""
        return x

    def copy_first_(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by that of the first rank."""

    def send(self, message: object) -> None:
        """Send a message, which can be pickled, from the first rank to all others."""

    def synchronized(self, part: Part) -> AbstractContextManager[object]:
        """Return the context of a pass in which batch normalization sees the whole batch."""
        return nullcontext()


SOLO = Ranks()
"""One process, which trains alone."""
