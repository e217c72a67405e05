"""Ranks over tasks: Friedman's test and the critical difference, or why there are none."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from plastibench.analysis.stats.bootstrap import CONFIDENCE

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[np.float64]]

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
    from scipy.special import chdtrc

    table = np.array([list(values) for values in scores.values()])
    placed = _placed(table)
    means, k = placed.mean(axis=1), len(scores)
    # Friedman's statistic with its correction for ties.
    spread = float(((means - (k + 1) / 2) ** 2).sum()) * tasks**2
    possible = float((placed**2).sum()) - tasks * k * (k + 1) ** 2 / 4
    p = float(chdtrc(k - 1, (k - 1) * spread / possible)) if possible > 0 else 1.0
    q = studentized_range(CONFIDENCE, k) / math.sqrt(2)
    return Ranks(dict(zip(scores, means.tolist(), strict=True)), p, q * math.sqrt(k * (k + 1) / (6 * tasks)))


def _placed(table: Array) -> Array:
    """Return the place of each score (methods, tasks) within its task, 1 the highest; equals share places."""
    above = (table[None] > table[:, None]).sum(axis=1)
    equal = (table[None] == table[:, None]).sum(axis=1)
    found: Array = 1 + above + (equal - 1) / 2
    return found


@lru_cache(maxsize=64)
def studentized_range(share: float, k: int) -> float:
    """Return what the range of k standard normal draws exceeds with probability 1 - `share`.

    P(range <= q) = k * integral of phi(z) (Phi(z) - Phi(z - q))^(k - 1) dz, inverted by bisection.
    """
    import numpy as np
    from scipy.special import ndtr

    z = np.linspace(-9, 9, 4001)
    density = k * np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi) * (z[1] - z[0])
    low, high = 0.0, 18.0
    while high - low > 1e-9:
        q = (low + high) / 2
        below = float((density * (ndtr(z) - ndtr(z - q)) ** (k - 1)).sum()) < share
        low, high = (q, high) if below else (low, q)
    return (low + high) / 2
