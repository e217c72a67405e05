"""Tests of paired differences, and what a number of seeds can decide at all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from plastibench.analysis.stats.estimate import Estimate, mean

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[np.float64]]

LEVEL = 0.05
"""What a corrected p must be below to be called significant."""

SMALLEST_SHOWN = 0.001
"""A p below this is shown as being below it: it is never 0."""

MOST_EXACT = 16
"""Differences up to which every pattern of signs is tried; above, as many are drawn at random."""


MOST_RANKED = 50
"""Differences up to which Wilcoxon's test is exact."""

ROUNDING = 1e-13
"""Of the sum of all sizes: what sums that are equal on paper can differ by."""


def sign_flip(differences: Sequence[float]) -> float:
    """Return the two-sided p of the exact sign-flip test that the mean difference is zero.

    Under the null hypothesis each paired difference is as likely as its negative. NaN for no
    difference at all.
    """
    (found,) = sign_flips([differences])
    return found


def sign_flips(families: Sequence[Sequence[float]]) -> list[float]:
    """Return `sign_flip` of each list of paired differences; those of one length are worked out together."""
    lengths = {len(family) for family in families}
    exact = {
        n: iter(_shares_as_extreme([family for family in families if len(family) == n]))
        for n in lengths
        if 1 < n <= MOST_EXACT
    }
    return [next(exact[n]) if (n := len(family)) in exact else _few_or_many(family) for family in families]


def _few_or_many(differences: Sequence[float]) -> float:
    """Return the p of differences that are too few for any verdict, or too many to try every pattern."""
    if len(differences) < 2:
        return 1.0 if differences else math.nan
    from scipy.stats import permutation_test

    found = permutation_test(
        (list(differences),),
        lambda sample, axis: sample.mean(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=2**MOST_EXACT,
        rng=0,
    )
    return float(found.pvalue)


def _shares_as_extreme(families: Sequence[Sequence[float]]) -> list[float]:
    """Return the shares of sign patterns whose sum is as far from 0 as the one that was seen."""
    import numpy as np

    values = np.array(families).T
    # Sums that are equal but for their rounding count as equal.
    seen = np.abs(values.sum(axis=0)) - ROUNDING * np.abs(values).sum(axis=0)
    found: list[float] = np.mean(np.abs(_patterns(len(values)) @ values) >= seen, axis=0).tolist()
    return found


@lru_cache(maxsize=MOST_EXACT)
def _patterns(n: int) -> Array:
    """Return half of the patterns of signs, shape (2^(n-1), n): the others are their negatives."""
    import numpy as np

    bits = np.arange(2 ** (n - 1))[:, None] >> np.arange(n)
    return np.where(bits & 1, -1.0, 1.0)


def p_text(p: float) -> str:
    """Return a p as it is shown behind the letter: "0.012", or "< 0.001"."""
    return f"< {SMALLEST_SHOWN}" if p < SMALLEST_SHOWN else f"{p:.3f}"


def wilcoxon(differences: Sequence[float]) -> float:
    """Return the two-sided p of Wilcoxon's signed-rank test; differences of zero say nothing.

    Exact up to `MOST_RANKED` differences without ties, by the normal approximation otherwise.
    """
    import numpy as np
    from scipy.special import ndtr

    kept = np.array([difference for difference in differences if difference])
    n = len(kept)
    if n == 0:
        return 1.0
    sizes = np.abs(kept)
    ranks = 1 + (sizes < sizes[:, None]).sum(axis=1) + ((sizes == sizes[:, None]).sum(axis=1) - 1) / 2
    above = float(ranks[kept > 0].sum())
    if n <= MOST_RANKED and len(np.unique(sizes)) == n:
        ways = _rank_sums(n)
        low, high = ways[: int(above) + 1].sum(), ways[int(above) :].sum()
        return min(1.0, 2 * float(min(low, high)))
    _, ties = np.unique(sizes, return_counts=True)
    variance = n * (n + 1) * (2 * n + 1) / 24 - float((ties**3 - ties).sum()) / 48
    return float(2 * ndtr(-abs(above - n * (n + 1) / 4) / math.sqrt(variance)))


@lru_cache(maxsize=64)
def _rank_sums(n: int) -> Array:
    """Return the probability of each sum of ranks when every sign is as likely as the other."""
    import numpy as np

    ways = np.ones(1)
    for rank in range(1, n + 1):
        ways = (np.pad(ways, (0, rank)) + np.pad(ways, (rank, 0))) / 2
    return ways


def smallest_p(seeds: int) -> float:
    """Return the smallest two-sided p that sign-flip and signed-rank tests can give: 2 / 2^n."""
    return min(1.0, 2.0 ** (1 - seeds))


def fewest_seeds(comparisons: int) -> int:
    """Return how many seeds a single one of several comparisons needs to be significant after Holm."""
    seeds = 1
    while smallest_p(seeds) * max(1, comparisons) >= LEVEL:
        seeds += 1
    return seeds


def holm(values: Sequence[float]) -> list[float]:
    """Return p values corrected for being several (Holm 1979), in the order given."""
    order = sorted(range(len(values)), key=lambda position: values[position])
    corrected, highest = [0.0] * len(values), 0.0
    for rank, position in enumerate(order):
        highest = max(highest, min(1.0, (len(values) - rank) * values[position]))
        corrected[position] = highest
    return corrected


def equivalent(differences: Sequence[float], margin: float) -> float:
    """Return the p of two one-sided t tests (TOST) that the mean lies within +- margin, margin > 0.

    Below the level, the two are called equivalent; above it nothing is shown, least of all a difference.
    """
    return max(not_worse(differences, margin), not_worse([-d for d in differences], margin))


def not_worse(differences: Sequence[float], margin: float) -> float:
    """Return the one-sided p of a t test that the mean lies above -margin: "no worse by more than it"."""
    return above_margin(mean(differences), margin)


def above_margin(found: Estimate, margin: float) -> float:
    """Return `not_worse` of the differences whose mean and spread are known."""
    from scipy.special import stdtr

    if margin <= 0:
        raise ValueError(f"margin={margin} is not allowed: it is above 0")
    if found.n < 2:
        return math.nan
    above = found.mean + margin
    if found.sd == 0:
        return 0.0 if above > 0 else 1.0
    return float(stdtr(found.n - 1, -above / (found.sd / math.sqrt(found.n))))
