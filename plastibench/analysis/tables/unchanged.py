"""Runs whose remedy changed nothing: their last weights are those of the baseline's run of the same seed."""

from __future__ import annotations

from collections.abc import Mapping

from plastibench.store.run_metrics import RunMetrics

Runs = Mapping[int, RunMetrics]
"""The runs of a method by seed."""


def num_unchanged(runs: Runs, baseline: Runs) -> int:
    """Return how many runs have the weights, and at every stage the accuracy, of the baseline's run."""
    return sum(_is_same(run, baseline.get(seed)) for seed, run in runs.items())


def _is_same(run: RunMetrics, other: RunMetrics | None) -> bool:
    # A remedy may leave the trained weights alone and evaluate others, such as their average.
    return (
        other is not None
        and bool(run.weights)
        and ((run.weights, run.accuracies) == (other.weights, other.accuracies))
    )
