"""Plasticity gap: how much better a fresh network becomes on the same data, with the same recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from plastibench.api import Learner, Probe, setting, train_stage


@dataclass(frozen=True, kw_only=True)
class PlasticityGap(Probe):
    """acc(fresh network trained on the stage's data) - acc(the run), the cold-start gap (arXiv 1910.08475).

    The fresh network has the weights, order of batches and stop rule of the cold start of the same seed, so
    that the gap of a warm start is the difference of the two runs; that of a cold start is 0. Accuracies
    are on the test data, or on the validation data if the run holds the test data out. It costs a cold start.
    """

    stages: tuple[int, ...] = setting((), within=(0, None))
    """Stages to measure at, counted from 0; empty for all."""

    units: ClassVar[Mapping[str, str]] = {
        "gap": "share of examples",
        "fresh_accuracy": "share of examples",
        "fresh_steps": "steps",
    }

    def measure(self, learner: Learner) -> Mapping[str, float]:
        """Return the three measurements; NaN in other stages, and without data to test on."""
        stage = learner.stage
        data = stage.validation if stage.test is None else stage.test
        if data is None or (self.stages and stage.index not in self.stages):
            return dict.fromkeys(self.units, float("nan"))
        own = learner.accuracy(learner.evaluated_model(), data)
        learner.restart()
        steps = train_stage(learner)
        fresh = learner.accuracy(learner.model, data)
        return {"gap": fresh - own, "fresh_accuracy": fresh, "fresh_steps": steps}
