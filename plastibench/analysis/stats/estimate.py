"""Means over seeds with their spread and their interval. Pure functions of lists of numbers."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache

from plastibench.analysis.stats.bootstrap import CONFIDENCE, bootstrap_means

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
    center = statistics.fmean(values)
    if n == 1:
        return Estimate(1, center, math.nan, math.nan, math.nan)
    sd = spread(values, center)
    half = _quantile(n - 1) * sd / math.sqrt(n)
    return Estimate(n, center, sd, center - half, center + half)


def spread(values: Sequence[float], center: float | None = None) -> float:
    """Return the sample standard deviation (n - 1) of at least two values; `center` is their mean."""
    if min(values) == max(values):
        return 0.0  # which the rounding of the mean would hide
    if center is None:
        center = statistics.fmean(values)
    return math.sqrt(math.fsum([(value - center) ** 2 for value in values]) / (len(values) - 1))


@lru_cache(maxsize=256)
def _quantile(degrees: int) -> float:
    from scipy.special import stdtrit  # what scipy.stats.t.ppf calls, at a tenth of the time to import

    return float(stdtrit(degrees, (1 + CONFIDENCE) / 2))


def paired(pairs: Sequence[tuple[float, float]]) -> Estimate:
    """Return the mean of first minus second, pair by pair."""
    (found,) = differences([[first - second for first, second in pairs]])
    return found


def differences(families: Sequence[Sequence[float]]) -> list[Estimate]:
    """Return the mean of each list of paired differences; those of one length share their draws."""
    found = [mean(family) for family in families]
    many: dict[int, list[int]] = {}
    for place, estimate in enumerate(found):
        if estimate.n >= ENOUGH:
            many.setdefault(estimate.n, []).append(place)
    for places in many.values():
        import numpy as np

        ends = bootstrap_means(np.array([families[place] for place in places]))
        for place, (low, high) in zip(places, ends, strict=True):
            found[place] = replace(found[place], low=low, high=high)
    return found


def unpaired(first: Sequence[float], second: Sequence[float]) -> tuple[Estimate, float]:
    """Return the mean of first minus that of second, and the two-sided p that there is no difference.

    Welch's t, for runs that share no seed; `n` is the smaller of the two numbers of runs. There is no
    interval, and p is 1, where one of them has a single run; the spread is that of no sample: NaN.
    """
    n = min(len(first), len(second))
    if n == 0:
        return mean([]), math.nan
    center = statistics.fmean(first) - statistics.fmean(second)
    if n == 1:
        return Estimate(1, center, math.nan, math.nan, math.nan), 1.0
    if spread(first) == spread(second) == 0:
        return Estimate(n, center, math.nan, center, center), float(center == 0)
    from scipy.stats import ttest_ind

    found = ttest_ind(first, second, equal_var=False)
    low, high = found.confidence_interval(CONFIDENCE)
    return Estimate(n, center, math.nan, float(low), float(high)), float(found.pvalue)


def population_sd(values: Sequence[float]) -> float:
    """Return the spread as the DASH paper prints it: divided by n, not by n - 1."""
    return statistics.pstdev(values) if values else math.nan
