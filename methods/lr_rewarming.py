"""Learning-rate re-warming: start each stage at initial norms and a raised rate that falls back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from plastibench.api import Learner, Method, normalized_parameters, tune


@dataclass(kw_only=True)
class LRRewarming(Method):
    """lr_t = lr * (peak + (1 - peak) * min(t / T, 1)) in each stage but the first, with t the step in it.

    Raises the effective learning rate, the ratio of the norms of update and weights, when data arrive (Lyle
    et al. 2025, arXiv 2507.20057): before the stage the weights that a normalization follows are projected
    to their initial norms, which changes nothing but the rate, and the rate falls linearly to that of the
    recipe over T, `epochs` epochs. The paper's own schedules are not reproduced: it gives the principle. The
    recipe's warm-up and decay multiply this rate.

    Cost: nothing but copies of the initial norms; each step is run eagerly on a GPU.
    """

    peak: float = tune(10.0, 1.0, 100.0, log=True, within=(1e-6, None))
    """The first rate of a stage, as a multiple of the recipe's."""
    epochs: int = tune(5, 1, 50, log=True, within=(1, None))
    """Epochs until the rate is the recipe's again, T."""
    project: bool = True
    """Whether to project the weights that a normalization follows to their initial norms."""
    norms: list[Tensor] = field(default_factory=list, init=False)
    rates: list[float] = field(default_factory=list, init=False)
    """The base rate of each parameter group."""

    disabled: ClassVar[Mapping[str, Any]] = {"peak": 1.0, "project": False}

    def start(self, learner: Learner) -> None:
        """Keep the norms of the weights."""
        self.norms = [weight.norm() for weight in self._weights(learner)]

    def before_stage(self, learner: Learner) -> None:
        """Project the weights and raise the rate."""
        for weight, norm in zip(self._weights(learner), self.norms, strict=True):
            weight.mul_(torch.where(weight.norm() > 0, norm / weight.norm(), 1.0))
        groups = learner.optimizer.param_groups
        self.rates = self.rates or [float(group["initial_lr"]) for group in groups]
        self._set_rates(learner, step=0)

    def after_step(self, learner: Learner) -> None:
        """Set the rate of the next step."""
        if learner.stage.index > 0 and self.peak != 1.0:
            self._set_rates(learner, step=learner.cost.steps + 1)  # the step just taken is not counted yet

    def _set_rates(self, learner: Learner, step: int) -> None:
        per_epoch = math.ceil(len(learner.stage.train) / learner.task.recipe.batch_size)
        factor = self.peak + (1 - self.peak) * min(step / (self.epochs * per_epoch), 1.0)
        for group, rate in zip(learner.optimizer.param_groups, self.rates, strict=True):
            group["initial_lr"] = rate * factor  # which a schedule multiplies
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate * factor)
            else:
                group["lr"] = rate * factor

    def _weights(self, learner: Learner) -> list[torch.nn.Parameter]:
        if not self.project:
            return []
        return normalized_parameters(learner.model, learner.stage.train.shape)
