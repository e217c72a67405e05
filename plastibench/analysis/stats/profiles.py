"""How often one method beats another, and how many runs score above each threshold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def probability_of_improvement(first: Sequence[Array], second: Sequence[Array]) -> float:
    """Return P(X > Y) averaged over tasks, ties counted half (arXiv 2108.13264, section 4.3).

    Both have an array of shape (seeds,) for each task; every run of the first method is compared
    with every run of the second.
    """
    shares = []
    for x, y in zip(first, second, strict=True):
        difference = x[:, None] - y
        shares.append(float(np.mean(difference > 0) + np.mean(difference == 0) / 2))
    return float(np.mean(shares))


def performance_profile(scores: Sequence[Array], thresholds: Array) -> Array:
    """Return the share of runs above each threshold, tasks weighted equally (arXiv 2108.13264, section 4.2).

    `scores` has an array of shape (seeds,) for each task; the result has the shape of `thresholds`.
    """
    above = [(task[:, None] > thresholds).mean(axis=0) for task in scores]
    return np.asarray(np.mean(above, axis=0), dtype=np.float64)
