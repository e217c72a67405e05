"""Shares: how often one method beats another, and how many runs score above each threshold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[np.float64]]


def probability_of_improvement(ours: Sequence[Array], theirs: Sequence[Array]) -> float:
    """Return P(X > Y) averaged over tasks, a tie counted as half (arXiv 2108.13264, section 4.3).

    Both have an array of shape (seeds,) for each task; every run of one is held against every run of
    the other, whatever their seeds.
    """
    import numpy as np

    shares = []
    for x, y in zip(ours, theirs, strict=True):
        difference = x[:, None] - y[None, :]
        shares.append(float(np.mean(difference > 0) + np.mean(difference == 0) / 2))
    return float(np.mean(shares))


def profile(scores: Sequence[Array], thresholds: Array) -> Array:
    """Return the share of runs above each threshold, tasks weighing the same (arXiv 2108.13264, section 4.2).

    `scores` has an array of shape (seeds,) for each task; the result has the shape of `thresholds`.
    """
    import numpy as np

    above = [(task[:, None] > thresholds[None, :]).mean(axis=0) for task in scores]
    return np.asarray(np.mean(above, axis=0), dtype=np.float64)
