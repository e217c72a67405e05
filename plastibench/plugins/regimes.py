"""Which arrivals of data a stage may train on: plain arithmetic, no data."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Literal

from plastibench.errors import RequestError

Regime = Literal["accumulate", "two_phase", "discard", "buffer"]
"""All data so far; half and then all; the newest chunk only; the newest `buffer` examples."""


@dataclass(frozen=True)
class Window:
    """The contiguous part of the stream that one stage trains on."""

    start: int
    end: int
    chunks: tuple[int, ...]
    """How many of its examples came with each arrival, oldest first."""


def chunk_sizes(num_examples: int, num_chunks: int) -> list[int]:
    """Split examples as evenly as can be; where they do not divide, the first chunks get one more."""
    if num_examples < num_chunks:
        raise RequestError(
            f"stages={num_chunks} is not allowed: there are only {num_examples} training examples"
        )
    size, rest = divmod(num_examples, num_chunks)
    return [size + (position < rest) for position in range(num_chunks)]


def windows(sizes: list[int], regime: Regime, buffer: int | None = None) -> list[Window]:
    """Return what each stage trains on, given the training examples that arrive with each."""
    ends = list(accumulate(sizes))
    starts = [end - size for end, size in zip(ends, sizes, strict=True)]
    if regime == "discard":
        return [Window(start, end, (end - start,)) for start, end in zip(starts, ends, strict=True)]
    kept = buffer if regime == "buffer" and buffer is not None else ends[-1]
    return [_window(max(0, end - kept), end, starts) for end in ends]


def _window(start: int, end: int, arrivals: list[int]) -> Window:
    inside = [arrival for arrival in arrivals if start < arrival < end]
    borders = [start, *inside, end]
    return Window(start, end, tuple(b - a for a, b in pairwise(borders)))
