"""Rank tests over tasks: Friedman's with Nemenyi's critical difference, and Wilcoxon's."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from plastibench.analysis.stats.significance import CONFIDENCE

MIN_TASKS = 5
MIN_METHODS = 3
MAX_EXACT = 50
"""Differences up to which Wilcoxon's test is exact."""


@dataclass(frozen=True)
class RankAnalysis:
    """Mean rank of each method over tasks, 1 the best; or why ranks are refused."""

    mean_ranks: dict[str, float]
    p: float
    """Of Friedman's test that all methods rank alike."""
    critical_difference: float
    """Mean ranks closer than this do not differ significantly (Nemenyi)."""
    refusal: str | None = None


def rank(scores: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    """Return the rank of each method for each task, 1 the highest score; ties share ranks."""
    from scipy import stats  # late: takes 0.7 s

    table = stats.rankdata(-np.array(list(scores.values())), axis=0)
    return dict(zip(scores, table.tolist(), strict=True))


def analyze_ranks(scores: Mapping[str, Sequence[float]]) -> RankAnalysis:
    """Rank methods by their scores, one score per task, the highest the best.

    Demsar 2006 (JMLR 7): Friedman's test and CD = q sqrt(k (k + 1) / (6 N)) for k methods, N tasks.
    """
    k, tasks = len(scores), len(next(iter(scores.values()), ()))
    if tasks < MIN_TASKS or k < MIN_METHODS:
        reason = (
            f"Friedman's test needs at least {MIN_TASKS} settings and {MIN_METHODS} methods; "
            f"there are {tasks} and {k}"
        )
        return RankAnalysis({}, math.nan, math.nan, reason)
    from scipy import stats  # late: takes 0.7 s

    tied = len({tuple(values) for values in scores.values()}) == 1
    p = 1.0 if tied else float(stats.friedmanchisquare(*scores.values()).pvalue)
    q = float(stats.studentized_range.ppf(CONFIDENCE, k, math.inf)) / math.sqrt(2)
    means = {name: sum(ranks) / tasks for name, ranks in rank(scores).items()}
    return RankAnalysis(means, p, q * math.sqrt(k * (k + 1) / (6 * tasks)))


def signed_rank_test(differences: Sequence[float]) -> float:
    """Return the two-sided p-value of Wilcoxon's signed-rank test; zero differences are left out.

    Exact for up to `MAX_EXACT` differences without ties, otherwise the normal approximation.
    """
    nonzero = [difference for difference in differences if difference]
    if not nonzero:
        return 1.0
    from scipy import stats  # late: takes 0.7 s

    exact = len(nonzero) <= MAX_EXACT and len({abs(difference) for difference in nonzero}) == len(nonzero)
    return float(stats.wilcoxon(nonzero, method="exact" if exact else "approx").pvalue)
