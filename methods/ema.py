"""EMA: evaluate a moving average of the weights, which training never sees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from plastibench.api import Learner, Method, averaged_tensors, model_with, tune


@dataclass(kw_only=True)
class Ema(Method):
    """average <- average + rate * (w - average) after each step (Lee et al. 2024, arXiv 2406.02596, EMA).

    The average is evaluated and never copied back, which tells what averaging alone gives. It begins with the
    initial weights; bias correction gives these no weight, and the first average is that of the weights so
    far. Running statistics of batch normalization do not belong to averaged weights: they are measured again
    on the training data before each evaluation, or averaged like the weights, as in the published code.

    Cost: one element-wise update a step, one forward pass over the training data a stage (reestimated), and
    one copy of the weights.
    """

    rate: float = tune(1e-3, 1e-4, 1e-1, log=True, within=(1e-9, 1.0))
    """Weight of the newest weights, 1 - mu."""
    bias_correction: bool = True
    """Whether to leave the initial weights out of the average."""
    statistics: Literal["reestimated", "averaged"] = "reestimated"
    """Running statistics of batch normalization in the evaluated model."""
    average: list[Tensor] = field(default_factory=list, init=False)
    newest: Tensor = field(default_factory=lambda: torch.ones(()), init=False)
    """What the newest weights count at step t with bias correction: rate / (1 - (1 - rate)^t)."""
    deployed: nn.Module | None = field(default=None, init=False)
    deployed_at: int = field(default=-1, init=False)
    """The step after which `deployed` was made."""

    capturable: ClassVar[bool] = True
    disabled: ClassVar[Mapping[str, Any]] = {"rate": 1.0, "statistics": "averaged"}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "lee_2024": {"rate": 1e-3, "bias_correction": False, "statistics": "averaged"}
    }

    def start(self, learner: Learner) -> None:
        """Begin with the initial weights."""
        self.average = [tensor.clone() for tensor in averaged_tensors(learner.model)]
        self.newest = torch.ones((), device=learner.device.torch_device)

    def before_stage(self, learner: Learner) -> None:
        """Forget the model that was evaluated."""
        self.deployed, self.deployed_at = None, -1

    def after_step(self, learner: Learner) -> None:
        """Update the average, all on the device."""
        tensors = averaged_tensors(learner.model)
        if not self.bias_correction:
            torch._foreach_lerp_(self.average, tensors, self.rate)
            return
        torch._foreach_lerp_(self.average, tensors, [self.newest.to(tensor.dtype) for tensor in tensors])
        self.newest.div_(self.newest + (1 - self.rate))

    def evaluated(self, learner: Learner) -> nn.Module:
        """Return a model with the average, made once for each step."""
        if self.deployed is None or self.deployed_at != learner.step:
            self.deployed, self.deployed_at = model_with(learner.model, self.average), learner.step
            if self.statistics == "reestimated":
                learner.reestimate_batch_norm(self.deployed)
        return self.deployed
