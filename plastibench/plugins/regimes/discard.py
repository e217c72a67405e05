"""The newest chunk only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from plastibench.plugins.regime import Regime


@dataclass(frozen=True, kw_only=True)
class Discard(Regime):
    """Forget all data when new data arrive (Shin et al. 2024, arXiv 2410.23495)."""

    def window_size(self, chunks: Sequence[int], scale: float) -> int:
        """Return the size of the newest chunk."""
        return chunks[-1]
