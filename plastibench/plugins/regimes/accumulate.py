"""All data so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from plastibench.plugins.regime import Regime


@dataclass(frozen=True, kw_only=True)
class Accumulate(Regime):
    """Keep every example (Ash & Adams 2020, arXiv 1910.08475)."""

    def window_size(self, chunks: Sequence[int], scale: float) -> int:
        """Return the number of examples that have arrived."""
        return sum(chunks)
