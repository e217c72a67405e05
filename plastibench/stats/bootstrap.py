"""Intervals by resampling seeds: once for all methods, task by task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from plastibench.stats.estimate import CONFIDENCE

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[np.float64]]

REPEATS = 10_000


def bootstrap(
    scores: Sequence[Array], statistic: Callable[[Array], Array], repeats: int = REPEATS
) -> list[tuple[float, float]]:
    """Return the 95 % percentile interval of a statistic of each method.

    `scores` has an array of shape (methods, seeds) for each task; `statistic` reduces the last axis
    of (methods, repeats, runs). Seeds are drawn with replacement within each task (stratified, as
    in rliable: Agarwal et al. 2021, arXiv 2108.13264), and the same draw serves every method, so
    that what methods share under a seed stays paired. The draws are the same at every call.
    """
    import numpy as np

    draw = np.random.default_rng(0)
    drawn = [task[:, draw.integers(task.shape[1], size=(repeats, task.shape[1]))] for task in scores]
    values = statistic(np.concatenate(drawn, axis=-1))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(values, [tail, 1 - tail], axis=-1)
    return [(float(a), float(b)) for a, b in zip(low, high, strict=True)]


def iqm(values: Array) -> Array:
    """Return the interquartile mean of the last axis: the mean of the middle half (arXiv 2108.13264)."""
    import numpy as np
    from scipy.stats import trim_mean

    return np.asarray(trim_mean(values, 0.25, axis=-1), dtype=np.float64)
