"""Intervals by resampling seeds: once for all methods, task by task."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from plastibench.system.cpu import num_cores

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[np.float64]]
    Drawn = np.ndarray[Any, np.dtype[np.int64]]

CONFIDENCE = 0.95
REPEATS = 10_000
FEWEST = 1_000
MOST_NUMBERS = 10_000_000
"""That are drawn for one set of intervals; what would be more is repeated less often, down to `FEWEST`."""

AT_ONCE = 1_000_000
"""Numbers that are held at one time."""

STRIDE, SPARE = 20, 5
"""Of the sample that tells which draws can be at an end: one in how many it has, and how many are added."""


def repeats_for(runs: int, methods: int) -> int:
    """Return how often `bootstrap` draws so many runs of so many methods."""
    return max(FEWEST, min(REPEATS, MOST_NUMBERS // max(1, runs * methods)))


def bootstrap(
    scores: Sequence[Array], statistic: Callable[[Array], Array], repeats: int | None = None
) -> list[tuple[float, float]]:
    """Return the 95 % percentile interval of a statistic of each method.

    `scores` has an array of shape (methods, seeds) for each task; `statistic` reduces the last axis
    of (methods, draws, runs). Seeds are drawn with replacement within each task (stratified, as in rliable:
    Agarwal et al. 2021, arXiv 2108.13264), and the same draw serves every method, so that what
    methods share under a seed stays paired. The draws are the same at every call.
    """
    import numpy as np

    sizes = [task.shape[1] for task in scores]
    methods = scores[0].shape[0]
    repeats = repeats or repeats_for(sum(sizes), methods)
    starts = np.cumsum([0, *sizes[:-1]])
    drawn = [start + at for start, at in zip(starts, _draws(sizes, repeats), strict=True)]
    every, places = np.concatenate(scores, axis=-1), np.concatenate(drawn, axis=-1)
    step = max(1, AT_ONCE // (methods * sum(sizes)))
    parts = [places[start : start + step] for start in range(0, repeats, step)]
    # numpy lets go of the interpreter where it takes and sorts.
    with ThreadPoolExecutor(num_cores()) as pool:
        values = list(pool.map(lambda part: statistic(np.take(every, part, axis=-1)), parts))
    return _ends(np.concatenate(values, axis=-1))


def bootstrap_improvement(scores: Sequence[Array], repeats: int | None = None) -> list[tuple[float, float]]:
    """Return the 95 % percentile interval of each method's probability of improvement over the first one.

    `scores` and the draws are those of `bootstrap`: what two methods share under a seed stays paired.
    (rliable draws the runs of two methods apart from one another, arXiv 2108.13264, section 4.3.)
    """
    import numpy as np

    sizes = [task.shape[1] for task in scores]
    methods = scores[0].shape[0] - 1
    repeats = repeats or repeats_for(sum(sizes), methods)
    total = np.zeros((methods, repeats))
    for task, drawn in zip(scores, _draws(sizes, repeats), strict=True):
        # Is run i of a method better than run j of the first one? Weighed by how often both are drawn.
        apart = task[1:, :, None] - task[0]
        better = (1 + np.sign(apart)) / 2
        counts = _counts(drawn, task.shape[1]).astype(np.float64)
        held = (counts @ better.transpose(2, 0, 1).reshape(len(counts[0]), -1)).reshape(repeats, methods, -1)
        total += np.einsum("rms,rs->mr", held, counts) / task.shape[1] ** 2
    return _ends(total / len(scores))


def _draws(sizes: Sequence[int], repeats: int) -> Iterator[Drawn]:
    """Yield which seeds are drawn for each task, shape (repeats, seeds); the same at every call."""
    import numpy as np

    draw = np.random.default_rng(0)
    for size in sizes:
        yield draw.integers(size, size=(repeats, size))


def _counts(drawn: Drawn, seeds: int) -> Drawn:
    """Return how often each seed is in each draw, shape (repeats, seeds)."""
    import numpy as np

    repeats = len(drawn)
    places = (drawn + seeds * np.arange(repeats)[:, None]).ravel()
    return np.bincount(places, minlength=repeats * seeds).reshape(repeats, seeds)


def bootstrap_means(values: Array) -> list[tuple[float, float]]:
    """Return what `bootstrap` gives for the mean over one task, with scores of shape (methods, seeds)."""
    return _ends(values @ _weights(values.shape[1]))


@lru_cache(maxsize=64)
def _weights(seeds: int) -> Array:
    """Return the share of each seed in each draw, shape (seeds, repeats): a mean is then one product."""
    import numpy as np

    (drawn,) = _draws([seeds], REPEATS)
    return np.ascontiguousarray(_counts(drawn, seeds).T / seeds)


def _ends(values: Array) -> list[tuple[float, float]]:
    """Return the quantiles of each row that its interval ends at: to the bit those of `np.quantile`."""
    tail = (1 - CONFIDENCE) / 2
    last = values.shape[-1] - 1
    low, high = tail * last, (1 - tail) * last
    below, above = _smallest(values, math.floor(low))
    beyond, before = -_smallest(-values, last - math.floor(high) - 1)
    ends = (_between(below, above, low % 1), _between(before, beyond, high % 1))
    return list(zip(*(end.tolist() for end in ends), strict=True))


def _smallest(values: Array, place: int) -> Array:
    """Return what stands at a place near the beginning of each ordered row, and behind it: shape (2, rows).

    Only values up to a threshold are put in order, which every `STRIDE`th value tells well enough.
    """
    import numpy as np

    guess = 2 * (place // STRIDE) + SPARE
    sample = values[:, ::STRIDE]
    if guess < sample.shape[-1]:
        thresholds = np.partition(sample, guess, axis=-1)[:, guess]
        rows = [row[row <= threshold] for row, threshold in zip(values, thresholds, strict=True)]
    else:
        rows = list(values)
    # A threshold that was too low leaves too few: then the whole row is ordered.
    kept = [few if len(few) > place + 1 else row for few, row in zip(rows, values, strict=True)]
    both = (place, place + 1)
    return np.array([np.partition(row, both)[place : place + 2] for row in kept]).T


def _between(low: Array, high: Array, share: float) -> Array:
    """Return what lies between two values, as numpy interpolates."""
    apart = high - low
    return low + apart * share if share < 0.5 else high - apart * (1 - share)


def iqm(values: Array) -> Array:
    """Return the interquartile mean of the last axis: the mean of the middle half (arXiv 2108.13264).

    As scipy's `trim_mean`: a quarter of the values, rounded down, is cut off at each end.
    """
    import numpy as np

    cut, size = values.shape[-1] // 4, values.shape[-1]
    middle = np.partition(values, (cut, size - cut - 1), axis=-1)[..., cut : size - cut]
    return np.asarray(middle.mean(axis=-1), dtype=np.float64)
