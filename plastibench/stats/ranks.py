"""Ranks over tasks: Friedman's test and the critical difference, or why there are none."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from plastibench.stats.estimate import CONFIDENCE

FEWEST_TASKS = 5
FEWEST_METHODS = 3


@dataclass(frozen=True)
class Ranks:
    """Mean rank of each method over tasks, 1 the best; or the reason why none can be given."""

    mean: dict[str, float]
    p: float
    """Of Friedman's test that all methods rank alike."""
    critical_difference: float
    """Mean ranks nearer than this are not separated (Nemenyi)."""
    refusal: str | None = None


def ranks(scores: Mapping[str, Sequence[float]]) -> Ranks:
    """Rank methods by their scores, one for each task, the mean over seeds; the highest is the best.

    Demsar 2006 (JMLR 7): Friedman's test and CD = q sqrt(k (k + 1) / (6 N)) for k methods, N tasks.
    """
    tasks = len(next(iter(scores.values()), ()))
    if tasks < FEWEST_TASKS or len(scores) < FEWEST_METHODS:
        reason = (
            f"no ranks: Friedman's test needs at least {FEWEST_TASKS} tasks and {FEWEST_METHODS} methods, "
            f"and there are {tasks} and {len(scores)}"
        )
        return Ranks({}, math.nan, math.nan, reason)
    import numpy as np
    from scipy.stats import friedmanchisquare, rankdata, studentized_range

    table = np.array([list(values) for values in scores.values()])
    means = rankdata(-table, axis=0).mean(axis=1)
    k = len(scores)
    q = float(studentized_range.ppf(CONFIDENCE, k, np.inf)) / math.sqrt(2)
    p = float(friedmanchisquare(*table).pvalue) if len(np.unique(table, axis=0)) > 1 else 1.0
    return Ranks(dict(zip(scores, means.tolist(), strict=True)), p, q * math.sqrt(k * (k + 1) / (6 * tasks)))
