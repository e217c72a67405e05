"""The significance level, Holm's correction, and the smallest p-value that a number of seeds allows."""

from __future__ import annotations

import math
from collections.abc import Sequence

ALPHA = 0.05
"""A corrected p-value below this is called significant."""
CONFIDENCE = 0.95
"""Of every interval."""
MIN_SHOWN_P = 0.001


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
