"""The exact sign-flip test of paired differences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

MAX_EXACT = 16
"""Differences up to which all sign patterns are enumerated; above, 2^16 of them are drawn at random."""
TOLERANCE = 1e-13
"""Relative to the sum of absolute differences: sums this close are equal but for rounding."""


def sign_flip_test(differences: Sequence[float]) -> float:
    """Return the two-sided p-value of the sign-flip test that the mean difference is zero.

    Under the null hypothesis each paired difference is as likely as its negative. NaN without
    differences.
    """
    return sign_flip_tests([differences])[0]


def sign_flip_tests(families: Sequence[Sequence[float]]) -> list[float]:
    """Return `sign_flip_test` of each list of differences; lists of equal length are computed together."""
    exact = {
        n: iter(_exact_p_values([family for family in families if len(family) == n]))
        for n in {len(family) for family in families}
        if 1 < n <= MAX_EXACT
    }
    return [next(exact[n]) if (n := len(family)) in exact else _other_p_value(family) for family in families]


def _exact_p_values(families: Sequence[Sequence[float]]) -> list[float]:
    """Return the shares of sign patterns whose sum is at least as far from 0 as the observed one."""
    # All lists of a table in one product; scipy.stats.permutation_test would take each by itself.
    values = np.array(families).T
    observed = np.abs(values.sum(axis=0)) - TOLERANCE * np.abs(values).sum(axis=0)
    shares: list[float] = np.mean(np.abs(_sign_patterns(len(values)) @ values) >= observed, axis=0).tolist()
    return shares


@cache
def _sign_patterns(n: int) -> NDArray[np.float64]:
    """Return half of the sign patterns, shape (2^(n-1), n): the others are their negatives."""
    bits = np.arange(2 ** (n - 1))[:, None] >> np.arange(n)
    return np.where(bits & 1, -1.0, 1.0)


def _other_p_value(differences: Sequence[float]) -> float:
    """Return the p-value of differences that are too few to reject anything, or too many to enumerate."""
    if len(differences) < 2:
        return 1.0 if differences else math.nan
    from scipy.stats import permutation_test

    result = permutation_test(
        (list(differences),),
        lambda sample, axis: sample.mean(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=2**MAX_EXACT,
        rng=0,
    )
    return float(result.pvalue)
