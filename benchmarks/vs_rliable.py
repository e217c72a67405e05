"""Compare plastibench's statistics with rliable's on the same scores, and print the largest differences.

    pip install --target /tmp/rliable rliable 'arch<8' 'pandas<3'
    PYTHONPATH=/tmp/rliable python benchmarks/vs_rliable.py

rliable (Agarwal et al. 2021, arXiv 2108.13264) is not a dependency. Statistics defined by a formula must
agree up to rounding. Intervals are random: their ends are compared with the spread of rliable's own ends over
seeds of its generator.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import numpy as np

from plastibench.analysis.stats.bootstrap import (
    bootstrap_intervals,
    interquartile_mean,
    performance_profile,
    probability_of_improvement,
)

METHODS, RUNS, TASKS = 4, 10, 6
ROUNDING = 1e-12
SPREADS = 5.0
"""Allowed distance of our ends from the mean of rliable's, in standard deviations of rliable's."""


def scores(seed: int) -> list[np.ndarray]:
    """Return accuracies like those of a leaderboard, of shape (methods, runs), for each task."""
    draw = np.random.default_rng(seed)
    level = draw.uniform(40, 90, size=(TASKS, 1, 1)) + draw.normal(0, 2, size=(TASKS, METHODS, 1))
    return list(np.round(level + draw.normal(0, 1, size=(TASKS, METHODS, RUNS)), 2))


def theirs_of(tasks: list[np.ndarray], method: int) -> np.ndarray:
    """Return the scores of a method as rliable has them: (runs, tasks)."""
    return np.stack([task[method] for task in tasks], axis=1)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, default=0, help="of the scores")
    parser.add_argument("--repeats", type=int, default=10_000, help="of each bootstrap")
    parser.add_argument("--draws", type=int, default=5, help="intervals that rliable makes of each method")
    asked = parser.parse_args()
    try:
        from rliable import library, metrics
    except ImportError as error:
        sys.exit(f"rliable cannot be imported ({error}): see the head of this file")
    tasks = scores(asked.seed)
    by_method = {str(method): theirs_of(tasks, method) for method in range(METHODS)}
    found: list[tuple[str, float, float]] = []

    every = np.stack([np.concatenate([task[method] for task in tasks]) for method in range(METHODS)])
    expected = np.array([metrics.aggregate_iqm(table) for table in by_method.values()])
    found.append(("interquartile mean", float(np.abs(interquartile_mean(every) - expected).max()), ROUNDING))

    pairs = [(x, y) for x in range(METHODS) for y in range(METHODS) if x != y]
    ours = [probability_of_improvement([t[x] for t in tasks], [t[y] for t in tasks]) for x, y in pairs]
    theirs = [metrics.probability_of_improvement(by_method[str(x)], by_method[str(y)]) for x, y in pairs]
    found.append(("probability of improvement", float(np.abs(np.array(ours) - theirs).max()), ROUNDING))

    thresholds = np.linspace(35, 95, 121)
    profiles, _ = library.create_performance_profile(by_method, thresholds, reps=2)
    apart = []
    for method in range(METHODS):
        own = performance_profile([task[method] for task in tasks], thresholds)
        apart.append(np.abs(own - profiles[str(method)]).max())
    found.append(("performance profile", float(max(apart)), ROUNDING))

    ends = np.array(bootstrap_intervals(tasks, interquartile_mean, asked.repeats))
    draws = [_interval((library, metrics), by_method, (asked.repeats, seed)) for seed in range(asked.draws)]
    spread = np.std(draws, axis=0, ddof=1).max()
    difference = float(np.abs(ends - np.mean(draws, axis=0)).max())
    found.append((f"95 % bootstrap of the IQM, {asked.repeats:,} draws", difference, float(SPREADS * spread)))

    print(
        f"{METHODS} methods, {TASKS} tasks, {RUNS} runs each; the largest difference of all methods or pairs"
    )
    for what, difference, allowed in found:
        verdict = "agrees" if difference <= allowed else "DIFFERS"
        print(f"{what:<42} {difference:.2e} (allowed {allowed:.2e}) {verdict}")
    return int(any(difference > allowed for _, difference, allowed in found))


def _interval(rliable: tuple[Any, Any], by_method: dict[str, np.ndarray], how: tuple[int, int]) -> np.ndarray:
    """Return the ends that rliable gives each method, shape (methods, 2)."""
    (library, metrics), (repeats, seed) = rliable, how
    _, ends = library.get_interval_estimates(
        by_method,
        lambda table: np.array([metrics.aggregate_iqm(table)]),
        reps=repeats,
        random_state=np.random.RandomState(seed),
    )
    return np.array([interval[:, 0] for interval in ends.values()])


if __name__ == "__main__":
    sys.exit(main())
