"""Effective learning rate: raise it as shrinking the weights would, and leave the weights alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch.nn import Parameter

from plastibench.api import (
    ClassificationTask,
    Learner,
    Method,
    OptimizerStatePolicy,
    Task,
    normalized_parameters,
    tune,
)

LARGEST = 1e30
"""Of the square of the weights, relative to its start: float32 ends at 3e38."""


@dataclass(kw_only=True)
class EffectiveLR(Method):
    """lr <- lr / factor^2 for weights that a normalization follows; lr / factor with Adam and AdamW.

    The control that tells whether shrinking is anything but a learning rate (it has no paper of its own; on
    effective learning rates see arXiv 2407.01800). The gradient of a scale-invariant weight grows as the
    weight shrinks, so w <- factor * w and this change of the rate give the same functions at every step, up
    to rounding: compare with `shrink:` scope=normalized. Weight decay, which shrinking does not scale, is
    divided so that its effect remains. SAM's radius and Adam's epsilon are not scale-invariant: with them
    the two differ.

    With raised=every_stage the rate is raised before each stage, as shrinking before each stage does; the
    weights grow by 1 / factor a stage instead, and a run that would overflow is refused. raised=once raises
    it before the second stage alone.

    Cost: none.
    """

    optimizer_state: OptimizerStatePolicy = "clear"
    factor: float = tune(0.5, 0.05, 0.95, within=(1e-3, 1.0))
    """What the weights would be multiplied by, lambda; 1 changes no rate."""
    raised: Literal["every_stage", "once"] = "every_stage"
    """Before each stage, or before the second stage alone."""

    disabled: ClassVar[Mapping[str, Any]] = {"factor": 1.0, "optimizer_state": "keep"}

    def before_stage(self, learner: Learner) -> None:
        """Raise the rate of the weights that a normalization follows."""
        if self.factor == 1.0 or (self.raised == "once" and learner.stage.index > 1):
            return
        optimizer = learner.task.recipe.optimizer
        decay = self.factor if optimizer == "adamw" else self.factor**2
        for group in self._groups(learner):
            group["lr"] = float(group["initial_lr"]) / self.factor ** self._power(learner.task)
            group["weight_decay"] = group["weight_decay"] * decay

    def unsupported(self, task: Task) -> str | None:
        """Return the reason if no weight is scale-invariant, or if the weights would overflow."""
        if isinstance(task, ClassificationTask) and not normalized_parameters(
            self.build(task), task.input_shape()
        ):
            return "no layer of the model is followed by a normalization"
        stages = task.num_stages()
        if self.raised == "every_stage" and self.factor ** (2 * (stages - 1)) < 1 / LARGEST:
            return f"factor={self.factor} over {stages} stages would overflow: set raised=once"
        return None

    def _groups(self, learner: Learner) -> list[dict[str, Any]]:
        """Return the parameter groups of the weights, which are split off from groups with other weights."""
        weights = set(normalized_parameters(learner.model, learner.stage.train.shape))
        for group in list(learner.optimizer.param_groups):
            own = [p for p in group["params"] if p in weights]
            if 0 < len(own) < len(group["params"]):
                group["params"] = [p for p in group["params"] if p not in weights]
                learner.optimizer.add_param_group({**group, "params": own})
        return [group for group in learner.optimizer.param_groups if weights & _members(group)]

    def _power(self, task: Task) -> int:
        return 1 if task.recipe.optimizer in ("adam", "adamw") else 2


def _members(group: dict[str, Any]) -> set[Parameter]:
    return set(group["params"])
