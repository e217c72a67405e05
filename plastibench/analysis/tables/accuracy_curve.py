"""Test accuracy as a function of the passes spent so far."""

from collections.abc import Sequence
from itertools import accumulate, pairwise
from statistics import fmean

from plastibench.store.run_metrics import RunMetrics


def accuracy_curve(runs: Sequence[RunMetrics]) -> list[tuple[float, float]]:
    """Return (passes so far, test accuracy in percent) after each stage, averaged over runs."""
    passes = accumulate(_stage_means([run.passes for run in runs]))
    return list(zip(passes, _stage_means([run.accuracies for run in runs]), strict=True))


def cost_to_match(runs: Sequence[RunMetrics], unit: Sequence[RunMetrics]) -> float | None:
    """Return the passes until the mean accuracy reaches the last one of `unit`, relative to its passes.

    The accuracy is interpolated linearly between stages. None if it never gets there, if `unit` took no
    passes, or if the test set grows, so that early accuracies are not on the same scale as the last one.
    """
    if not runs or not unit or not all(run.same_test for run in (*runs, *unit)):
        return None
    target = fmean(run.last for run in unit)
    unit_passes = fmean(sum(run.passes) for run in unit)
    if not unit_passes:
        return None
    for (passes, accuracy), (next_passes, reached) in pairwise([(0.0, 0.0), *accuracy_curve(runs)]):
        if reached >= target:
            fraction = (target - accuracy) / (reached - accuracy) if reached > accuracy else 0.0
            return (passes + fraction * (next_passes - passes)) / unit_passes
    return None


def _stage_means(runs: Sequence[Sequence[float]]) -> list[float]:
    # Rounded once, as every mean: the last stage's is the mean of the last accuracies, to the bit.
    return [fmean(stage) for stage in zip(*runs, strict=True)]
