"""Tests of paired differences, and what a number of seeds can decide at all."""

from __future__ import annotations

import math
from collections.abc import Sequence

LEVEL = 0.05
"""What a corrected p must be below to be called significant."""

MOST_EXACT = 16
"""Differences up to which every pattern of signs is tried; above, as many are drawn at random."""


def sign_flip(differences: Sequence[float]) -> float:
    """Return the two-sided p of the exact sign-flip test that the mean difference is zero.

    Under the null hypothesis each paired difference is as likely as its negative. NaN for no
    difference at all.
    """
    from scipy.stats import permutation_test

    n = len(differences)
    if n == 0:
        return math.nan
    if n == 1:
        return 1.0
    found = permutation_test(
        (list(differences),),
        lambda sample, axis: sample.mean(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=2 ** min(n, MOST_EXACT),
        rng=0,
    )
    return float(found.pvalue)


def wilcoxon(differences: Sequence[float]) -> float:
    """Return the two-sided p of Wilcoxon's signed-rank test; differences of zero say nothing."""
    from scipy import stats

    kept = [difference for difference in differences if difference]
    return float(stats.wilcoxon(kept).pvalue) if kept else 1.0


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
    from statistics import fmean, stdev

    from scipy.stats import t

    if margin <= 0:
        raise ValueError(f"margin={margin} is not allowed: it is above 0")
    n = len(differences)
    if n < 2:
        return math.nan
    above, spread = fmean(differences) + margin, stdev(differences)
    if spread == 0:
        return 0.0 if above > 0 else 1.0
    return float(t.sf(above / (spread / math.sqrt(n)), n - 1))
