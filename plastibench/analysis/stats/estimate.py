"""Means and differences of means, with standard deviation, interval and t tests."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache

from plastibench.analysis.stats.significance import CONFIDENCE


def percent(value: float, sign: str = "") -> str:
    """Return a percentage, or a difference of two, with two digits.

    It is rounded to nine digits first: the same mean, summed in another order, has the same text.
    """
    return f"{round(value, 9) + 0.0:{sign}.2f}"


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds. What is undefined, such as the standard deviation of one seed, is NaN."""

    n: int
    mean: float
    sd: float
    """Sample standard deviation (n - 1)."""
    low: float
    """Lower end of the 95 % interval of the mean: Student's t."""
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Return whether 0 is outside the interval; one seed has no interval."""
        return self.low > 0 or self.high < 0

    def text(self) -> str:
        """Return "mean +- sd"."""
        if self.n == 0:
            return "-"
        return f"{percent(self.mean)} +- {percent(self.sd)}" if self.n > 1 else percent(self.mean)

    def interval_text(self) -> str:
        """Return the signed mean with its interval."""
        if self.n < 2:
            return percent(self.mean, "+") if self.n else "-"
        mean, low, high = (percent(value, "+") for value in (self.mean, self.low, self.high))
        return f"{mean} [{low}, {high}]"

    def as_dict(self) -> dict[str, float | int | None]:
        """Return the fields by name, NaN as None."""
        return {name: None if math.isnan(value) else value for name, value in asdict(self).items()}


def estimate_mean(values: Sequence[float]) -> Estimate:
    """Return the mean with its standard deviation and t interval."""
    n = len(values)
    if n == 0:
        return Estimate(0, math.nan, math.nan, math.nan, math.nan)
    mean = statistics.fmean(values)
    if n == 1:
        return Estimate(1, mean, math.nan, math.nan, math.nan)
    sd = sample_sd(values, mean)
    half = _t_quantile(n - 1) * sd / math.sqrt(n)
    return Estimate(n, mean, sd, mean - half, mean + half)


def sample_sd(values: Sequence[float], mean: float) -> float:
    """Return the sample standard deviation (n - 1) of at least two values with a known mean."""
    if min(values) == max(values):
        return 0.0  # the rounded mean of equal values can differ from them
    return math.sqrt(math.fsum([(value - mean) ** 2 for value in values]) / (len(values) - 1))


def prediction_interval(values: Sequence[float], max_sd: float = math.inf) -> tuple[float, float]:
    """Return the 95 % interval for one more value of the normal distribution that values come from.

    It is mean +- t sd sqrt(1 + 1/n), with n - 1 degrees of freedom (Student 1908); infinite for n < 2. A
    standard deviation that is larger than `max_sd` counts as that.
    """
    estimate = estimate_mean(values)
    if estimate.n < 2:
        return -math.inf, math.inf
    half = _t_quantile(estimate.n - 1) * min(estimate.sd, max_sd) * math.sqrt(1 + 1 / estimate.n)
    return estimate.mean - half, estimate.mean + half


@cache
def _t_quantile(degrees: int) -> float:
    from scipy.special import stdtrit  # scipy.stats.t.ppf calls it, and takes 0.3 s more to import

    return float(stdtrit(degrees, (1 + CONFIDENCE) / 2))


def paired_difference(first: Sequence[float], second: Sequence[float]) -> Estimate:
    """Return the mean of first minus second, pair by pair."""
    return estimate_mean([a - b for a, b in zip(first, second, strict=True)])


def unpaired_difference(first: Sequence[float], second: Sequence[float]) -> tuple[Estimate, float]:
    """Return the mean of first minus the mean of second, and Welch's two-sided p-value.

    `n` is the smaller sample size; `sd` is NaN. If a side has fewer than two values, there is no
    interval and p is 1.
    """
    n = min(len(first), len(second))
    if n == 0:
        return estimate_mean([]), 1.0
    means = statistics.fmean(first), statistics.fmean(second)
    difference = means[0] - means[1]
    if n == 1:
        return Estimate(1, difference, math.nan, math.nan, math.nan), 1.0
    if sample_sd(first, means[0]) == sample_sd(second, means[1]) == 0:
        return Estimate(n, difference, math.nan, difference, difference), float(difference == 0)
    from scipy.stats import ttest_ind

    result = ttest_ind(first, second, equal_var=False)
    low, high = result.confidence_interval(CONFIDENCE)
    return Estimate(n, difference, math.nan, float(low), float(high)), float(result.pvalue)


def noninferiority_test(difference: Estimate, margin: float) -> float:
    """Return the p-value of a one-sided t test that a mean difference is above -margin, margin > 0."""
    from scipy.special import stdtr

    if margin <= 0:
        raise ValueError(f"margin={margin} is not allowed: it must be above 0")
    if difference.n < 2:
        return math.nan
    above = difference.mean + margin
    if difference.sd == 0:
        return 0.0 if above > 0 else 1.0
    return float(stdtr(difference.n - 1, -above / (difference.sd / math.sqrt(difference.n))))


def equivalence_test(difference: Estimate, margin: float) -> float:
    """Return the p-value of two one-sided t tests (TOST) that a mean difference is within +- margin.

    A p-value above the significance level shows nothing, in particular no difference.
    """
    opposite = replace(difference, mean=-difference.mean)
    return max(noninferiority_test(difference, margin), noninferiority_test(opposite, margin))
