"""The newest `buffer` examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from plastibench.plugins.fields import setting
from plastibench.plugins.regime import Regime


@dataclass(frozen=True, kw_only=True)
class Buffer(Regime):
    """Keep a limited number of examples, first in, first out (Lee et al. 2024, arXiv 2406.02596)."""

    buffer: int = setting(within=(2, None))
    """Training examples that are kept."""

    def window_size(self, chunks: Sequence[int], scale: float) -> int:
        """Return the size of the buffer, or less while it fills."""
        return min(sum(chunks), round(self.buffer * scale))
