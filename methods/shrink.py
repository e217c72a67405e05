"""Shrink: scale the weights toward zero, without noise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch.nn import Parameter

from plastibench.api import (
    BatchNormPolicy,
    ClassificationTask,
    Learner,
    Method,
    OptimizerStatePolicy,
    Task,
    normalized_parameters,
    parameters_in,
    tune,
)


@dataclass(kw_only=True)
class Shrink(Method):
    """w <- factor * w before each stage: Shrink & Perturb (Ash & Adams 2020, arXiv 1910.08475) without noise.

    The scale of a layer that a normalization follows does not change what the model computes. Shrinking it by
    `factor` divides its effective learning rate by factor^2 with SGD and by factor with Adam, and does
    nothing else: `effective_lr` does the same to the rate and leaves the weights alone. With scope=normalized
    the two are equal up to rounding; what scope=all does beyond it, it does to the head and to
    normalization's own weights.

    Cost: one forward pass over the data with batch_norm=reestimate, none otherwise; no memory.
    """

    optimizer_state: OptimizerStatePolicy = "clear"
    batch_norm: BatchNormPolicy = "reestimate"
    factor: float = tune(0.5, 0.05, 0.95, within=(0.0, 1.0))
    """lambda; 1 changes no weight."""
    scope: Literal["all", "layers", "module_weights", "normalized"] = "all"
    """Which weights; `normalized` are those of layers that a normalization follows."""

    disabled: ClassVar[Mapping[str, Any]] = {
        "factor": 1.0,
        "optimizer_state": "keep",
        "batch_norm": "keep",
    }

    def before_stage(self, learner: Learner) -> None:
        """Multiply every parameter in scope."""
        for weight in self._weights(learner):
            weight.mul_(self.factor)

    def unsupported(self, task: Task) -> str | None:
        """Return the reason if scope=normalized has no weights."""
        if self.scope != "normalized" or not isinstance(task, ClassificationTask):
            return None
        if normalized_parameters(self.build(task), task.input_shape()):
            return None
        return "scope=normalized, but no layer of the model is followed by a normalization"

    def _weights(self, learner: Learner) -> list[Parameter]:
        if self.scope == "normalized":
            return normalized_parameters(learner.model, learner.stage.train.shape)
        return parameters_in(learner.model, self.scope)
