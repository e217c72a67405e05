"""The same data in every stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from plastibench.plugins.regime import Regime


@dataclass(frozen=True, kw_only=True)
class Repeat(Regime):
    """Train on all data in every stage, none of which is new: what training alone does to a network.

    The control for data that change, and the base of tasks that change the labels or pixels of the same
    images, as in Kumar et al. 2023 (arXiv 2308.11958).
    """

    default_stages = 10

    def window_size(self, chunks: Sequence[int], scale: float) -> int:
        """Return the number of all examples."""
        return sum(chunks)

    def chunk_sizes(self, num_examples: int, num_chunks: int) -> list[int]:
        """Return one chunk of all examples, then empty ones: every stage has all examples as its newest."""
        return [num_examples] + [0] * (num_chunks - 1)
