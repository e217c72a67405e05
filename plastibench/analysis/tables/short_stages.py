"""Stages that end after few steps: a test then sees running statistics that lag behind the weights."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

from plastibench.store.run_metrics import RunMetrics

MOMENTUM = 0.1
"""Share of a batch in the running statistics of batch normalization: torch's own, and every model's here."""
LEFT = 0.001
"""Share of the statistics from before the stage from which on they are no matter.

In the study of precision (results/precision.md) stages collapsed in the test after 16 and 45 steps.
"""
STEPS = math.ceil(math.log(LEFT) / math.log(1 - MOMENTUM))


def short_stages(sound: Mapping[str, Collection[RunMetrics]]) -> tuple[str, ...]:
    """Return a line on stages of fewer than `STEPS` steps, by method; nothing where there are none."""
    every = {name: [steps for run in runs for steps in run.steps] for name, runs in sorted(sound.items())}
    short = {name: sum(steps < STEPS for steps in found) for name, found in every.items()}
    if not any(short.values()):
        return ()
    counts = ", ".join(f"{name} {count} of {len(every[name])}" for name, count in short.items() if count)
    return (
        f"stages of fewer than {STEPS} steps, after which running statistics of batch normalization may "
        f"hold over {100 * LEFT:g} % of what they were before: {counts}",
    )
