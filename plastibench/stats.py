"""Small sums over seeds. Pure functions of lists of numbers."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds with its spread. What one seed or none cannot tell is NaN."""

    n: int
    mean: float
    sd: float
    """Sample standard deviation (n - 1)."""
    low: float
    """Lower end of the 95 % t-interval of the mean."""
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
    return mean([first - second for first, second in pairs])
