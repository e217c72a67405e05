"""The contract of a regime: which of the data that have arrived each stage trains on."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import ClassVar

from plastibench.errors import RequestError, count
from plastibench.plugins.fields import Settings


@dataclass(frozen=True)
class Window:
    """The contiguous part of the stream that one stage trains on."""

    start: int
    end: int
    chunks: tuple[int, ...]
    """How many of its examples came with each arrival, oldest first."""


@dataclass(frozen=True, kw_only=True)
class Regime(Settings, ABC):
    """Cuts a stream of examples into chunks, and limits which of them a stage trains on.

    A subclass is a frozen dataclass whose fields are its settings. The window of a stage always ends with
    the newest example.
    """

    default_stages: ClassVar[int] = 50
    """Number of chunks, and of stages, if the task's `stages` gives none."""
    fixed_stages: ClassVar[bool] = False
    """Whether no other number of stages is allowed."""

    @abstractmethod
    def window_size(self, chunks: Sequence[int], scale: float) -> int:
        """Return on how many of the newest examples a stage trains.

        `chunks` holds the sizes of the chunks that have arrived, oldest first. `scale` is 1 for training
        data; for validation data it is their number as a fraction of the training data.
        """

    def num_stages(self, stages: int | None) -> int:
        """Return the number of stages, given the task's setting. Raises RequestError if it is not allowed."""
        if self.fixed_stages and stages not in (None, self.default_stages):
            name, fixed = type(self).__name__, self.default_stages
            raise RequestError(f"stages={stages} is not allowed: regime {name} has {count(fixed, 'stage')}")
        return stages or self.default_stages

    def chunk_sizes(self, num_examples: int, num_chunks: int) -> list[int]:
        """Split examples as evenly as possible; if they do not divide, the first chunks get one more."""
        if num_examples < num_chunks:
            raise RequestError(
                f"stages={num_chunks} is not allowed: there are only {num_examples} training examples"
            )
        size, rest = divmod(num_examples, num_chunks)
        return [size + (position < rest) for position in range(num_chunks)]

    def windows(self, chunks: Sequence[int], scale: float = 1.0) -> list[Window]:
        """Return what each stage trains on, given the number of examples that arrive with each."""
        ends = list(accumulate(chunks))
        sizes = [self.window_size(chunks[: stage + 1], scale) for stage in range(len(chunks))]
        return [_window(max(0, end - size), end, ends) for end, size in zip(ends, sizes, strict=True)]


def _window(start: int, end: int, chunk_ends: Sequence[int]) -> Window:
    edges = [start, *(edge for edge in chunk_ends if start < edge < end), end]
    return Window(start, end, tuple(b - a for a, b in pairwise(edges)))
