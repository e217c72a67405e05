"""Soft reset: move every weight toward a new draw of it, keeping the variance of the initial weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from plastibench.api import BatchNormPolicy, Learner, Method, OptimizerStatePolicy, Scope, parameters_in, tune


@dataclass(kw_only=True)
class SoftReset(Method):
    """w <- g w + (1 - g) mu + sqrt(1 - g^2) (p - mu), g = 1 - reset (Galashov et al. 2024, arXiv 2411.04034).

    One step of an Ornstein-Uhlenbeck process whose stationary distribution is that of the initial weights:
    `p` is a fresh draw of them, and mu their mean. A parameter that has the variance of its initialization
    keeps it; reset=0 is a warm start and reset=1 a cold start. mu is 0, but for parameters that are
    initialized to constants, such as those of normalization: their mean is the constant.

    The paper learns g per layer or parameter from the likelihood of the next batch; here it is one setting.
    Shrink & Perturb has two factors of its own instead.

    Cost: none but two draws of the initial weights, and the memory of two copies of the weights meanwhile.
    """

    optimizer_state: OptimizerStatePolicy = "clear"
    batch_norm: BatchNormPolicy = "reset"
    reset: float = tune(0.1, 1e-3, 1.0, log=True, within=(0.0, 1.0))
    """1 - gamma: 0 keeps the weights, 1 draws new ones."""
    scope: Scope = "all"
    """Which parameters are changed: see `Scope`."""

    disabled: ClassVar[Mapping[str, Any]] = {"reset": 0.0, "optimizer_state": "keep", "batch_norm": "keep"}

    def before_stage(self, learner: Learner) -> None:
        """Take one step of the process for every parameter in scope."""
        kept = 1 - self.reset
        noise = math.sqrt(1 - kept**2)
        first, second = (parameters_in(learner.fresh_model(), self.scope) for _ in range(2))
        weights = parameters_in(learner.model, self.scope)
        for weight, new, other in zip(weights, first, second, strict=True):
            is_constant = torch.equal(new, other)
            weight.mul_(kept).add_(new, alpha=1 - kept if is_constant else noise)
