"""Means over seeds with their spread and their interval. Pure functions of lists of numbers."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

CONFIDENCE = 0.95

ENOUGH = 10
"""Seeds from which on intervals are bootstrapped: with fewer the bootstrap is known to be too narrow."""


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds with its spread. What one seed or none cannot tell is NaN."""

    n: int
    mean: float
    sd: float
    """Sample standard deviation (n - 1)."""
    low: float
    """Lower end of the 95 % interval of the mean: Student's t, or for `ENOUGH` pairs the bootstrap."""
    high: float

    def text(self) -> str:
        """Return "mean +- sd", with as much as n allows."""
        if self.n == 0:
            return "-"
        return f"{self.mean:.2f} +- {self.sd:.2f}" if self.n > 1 else f"{self.mean:.2f}"

    def interval_text(self) -> str:
        """Return the signed mean with its interval."""
        if self.n < 2:
            return f"{self.mean:+.2f}" if self.n else "-"
        return f"{self.mean:+.2f} [{self.low:+.2f}, {self.high:+.2f}]"

    def as_dict(self) -> dict[str, float | int | None]:
        """Return the fields, NaN as None."""
        return {name: None if math.isnan(value) else value for name, value in asdict(self).items()}


def mean(values: Sequence[float]) -> Estimate:
    """Return the mean of `values` with its standard deviation and t-interval."""
    n = len(values)
    if n == 0:
        return Estimate(0, math.nan, math.nan, math.nan, math.nan)
    centre = statistics.fmean(values)
    if n == 1:
        return Estimate(1, centre, math.nan, math.nan, math.nan)
    from scipy.stats import t

    sd = statistics.stdev(values)
    half = float(t.ppf((1 + CONFIDENCE) / 2, n - 1)) * sd / math.sqrt(n)
    return Estimate(n, centre, sd, centre - half, centre + half)


def paired(pairs: Sequence[tuple[float, float]]) -> Estimate:
    """Return the mean of first minus second, pair by pair."""
    differences = [first - second for first, second in pairs]
    found = mean(differences)
    if found.n < ENOUGH:
        return found
    import numpy as np

    from plastibench.stats.bootstrap import bootstrap

    ((low, high),) = bootstrap([np.array([differences])], lambda drawn: drawn.mean(axis=-1))
    return replace(found, low=float(low), high=float(high))


def unpaired(first: Sequence[float], second: Sequence[float]) -> tuple[Estimate, float]:
    """Return the mean of first minus that of second, and the two-sided p that there is no difference.

    Welch's t, for runs that share no seed; `n` is the smaller of the two numbers of runs. There is no
    interval, and p is 1, where one of them has a single run; the spread is that of no sample: NaN.
    """
    n = min(len(first), len(second))
    if n == 0:
        return mean([]), math.nan
    centre = statistics.fmean(first) - statistics.fmean(second)
    if n == 1:
        return Estimate(1, centre, math.nan, math.nan, math.nan), 1.0
    if statistics.stdev(first) == statistics.stdev(second) == 0:
        return Estimate(n, centre, math.nan, centre, centre), float(centre == 0)
    from scipy.stats import ttest_ind

    found = ttest_ind(first, second, equal_var=False)
    low, high = found.confidence_interval(CONFIDENCE)
    return Estimate(n, centre, math.nan, float(low), float(high)), float(found.pvalue)


def population_sd(values: Sequence[float]) -> float:
    """Return the spread as the DASH paper prints it: divided by n, not by n - 1."""
    return statistics.pstdev(values) if values else math.nan
