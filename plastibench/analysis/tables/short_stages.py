"""Stages with so few steps that batch-norm running statistics lag behind the weights when they are tested."""

import math
from collections.abc import Mapping

from plastibench.store.run_metrics import RunMetrics

MOMENTUM = 0.1
"""Weight of a batch in the running statistics: torch's default, which all models here use."""
NEGLIGIBLE = 0.001
"""Weight of the statistics from before the stage that no longer matters.

In the study of precision (results/precision.md) test accuracy collapsed after stages of 16 and 45 steps.
"""
MIN_STEPS = math.ceil(math.log(NEGLIGIBLE) / math.log(1 - MOMENTUM))


def short_stages_note(runs: Mapping[str, Mapping[int, RunMetrics]]) -> tuple[str, ...]:
    """Return a note with each method's number of stages of fewer than `MIN_STEPS` steps, if there are any.

    `runs` has the runs of each method by seed.
    """
    steps = {
        name: [n for run in by_seed.values() for n in run.steps] for name, by_seed in sorted(runs.items())
    }
    short = {name: sum(n < MIN_STEPS for n in stages) for name, stages in steps.items()}
    if not any(short.values()):
        return ()
    counts = ", ".join(f"{name} {count} of {len(steps[name])}" for name, count in short.items() if count)
    return (
        f"stages of fewer than {MIN_STEPS} steps, after which batch-norm running statistics may still hold "
        f"more than {100 * NEGLIGIBLE:g} % of their values from before the stage: {counts}",
    )
