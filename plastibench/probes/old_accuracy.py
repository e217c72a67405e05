"""Accuracy on earlier data before and after a remedy acts, and over the first epochs that follow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from plastibench.api import (
    Learner,
    Probe,
    measuring_model,
    old_data,
    sample_examples,
    setting,
)


@dataclass(frozen=True, kw_only=True)
class OldAccuracy(Probe):
    """Accuracy on training data of earlier stages when new data arrive, and in the epochs after that.

    From `arrival` to `stage_start` it falls by what the remedy makes the model forget; the epochs show how
    fast that is learned again (as in the DASH code, arXiv 2410.23495). The examples are the same at all
    moments of a stage. The statistics of batch normalization are measured again each time: those of the run
    are stale once a remedy has acted.
    """

    examples: int = setting(1024, within=(1, None))
    """Examples drawn from the earlier data that the stage trains on."""

    units: ClassVar[Mapping[str, str]] = {"accuracy": "share of examples"}
    moments: ClassVar[tuple[str, ...]] = (
        "arrival",
        "stage_start",
        "epoch_1",
        "epoch_2",
        "epoch_3",
        "epoch_4",
        "epoch_5",
        "stage_end",
    )

    def measure(self, learner: Learner) -> Mapping[str, float]:
        """Return the accuracy; NaN if the stage has no earlier data."""
        data = sample_examples(old_data(learner.stage), self.examples, learner.generator)
        if not len(data):
            return {"accuracy": float("nan")}
        return {"accuracy": learner.accuracy(measuring_model(learner), data)}
