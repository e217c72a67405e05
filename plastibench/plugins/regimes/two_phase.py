"""Half of the data, then all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from plastibench.plugins.regime import Regime


@dataclass(frozen=True, kw_only=True)
class TwoPhase(Regime):
    """Train on one half, then on both (Ash & Adams 2020, arXiv 1910.08475)."""

    default_stages = 2
    fixed_stages = True

    def window_size(self, chunks: Sequence[int], scale: float) -> int:
        """Return the number of examples that have arrived."""
        return sum(chunks)
