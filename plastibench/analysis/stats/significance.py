"""Significance of paired differences: the exact sign-flip test, Holm's correction, what n seeds can show."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ALPHA = 0.05
"""A corrected p-value below this is called significant."""
CONFIDENCE = 0.95
"""Of every interval."""
NONINFERIORITY_MARGIN = 0.5
"""Percentage points by which a method may be below the cost reference and still be noninferior."""
MIN_SHOWN_P = 0.001
MAX_EXACT = 40
"""Differences up to which all sign patterns are counted; above, 2^16 of them are drawn at random."""
TOLERANCE = 1e-13
"""Relative to the sum of absolute differences: sums this close are equal but for rounding."""


def sign_flip_test(differences: Sequence[float]) -> float:
    """Return the two-sided p-value of the sign-flip test that the mean difference is zero.

    Under the null hypothesis each paired difference is as likely as its negative. NaN without
    differences.
    """
    if len(differences) < 2:
        return 1.0 if differences else math.nan
    if len(differences) > MAX_EXACT:
        return _sampled_p_value(differences)
    import numpy as np

    values = np.array(differences)
    observed = abs(values.sum()) - TOLERANCE * np.abs(values).sum()
    # A pattern is a pair of patterns of the two halves: 2^20 sums instead of 2^40. The first sign is fixed,
    # because the patterns with the other one are negatives.
    left = values[0] + _signed_sums(values[1 : len(values) // 2])
    right = np.sort(_signed_sums(values[len(values) // 2 :]))
    above = len(right) - np.searchsorted(right, observed - left)
    below = np.searchsorted(right, -observed - left, side="right")
    return min(1.0, float(np.sum(above + below)) / (len(left) * len(right)))


def _signed_sums(values: Iterable[float]) -> NDArray[np.float64]:
    """Return the sums of values under all sign patterns."""
    import numpy as np

    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums - value, sums + value])
    return sums


def _sampled_p_value(differences: Sequence[float]) -> float:
    from scipy.stats import permutation_test

    result = permutation_test(
        (list(differences),),
        lambda sample, axis: sample.mean(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=2**16,
        rng=0,
    )
    return float(result.pvalue)


def format_p(p: float) -> str:
    """Return a p-value as text: "0.012", or "< 0.001"; it is never shown as 0."""
    return f"< {MIN_SHOWN_P}" if p < MIN_SHOWN_P else f"{p:.3f}"


def p_equation(p: float) -> str:
    """Return a p-value as in a sentence: "p = 0.012", or "p < 0.001"."""
    return f"p {format_p(p)}" if p < MIN_SHOWN_P else f"p = {format_p(p)}"


def holm_correction(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for multiple comparisons (Holm 1979), in the order given."""
    # scipy corrects for the false discovery rate only.
    order = sorted(range(len(p_values)), key=lambda position: p_values[position])
    corrected, highest = [0.0] * len(p_values), 0.0
    for rank, position in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[position]))
        corrected[position] = highest
    return corrected


def min_p_value(seeds: int) -> float:
    """Return the smallest two-sided p-value of a sign-flip or signed-rank test: 2 / 2^n."""
    return min(1.0, 2.0 ** (1 - seeds))


def min_seeds(comparisons: int) -> int:
    """Return the number of seeds with which one comparison can be significant after Holm's correction."""
    return 2 + math.floor(math.log2(max(1, comparisons) / ALPHA))
