"""UPGD: move and perturb useful weights less than useless ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from plastibench.api import Learner, Method, parameters_in, tune


@dataclass(kw_only=True)
class UPGD(Method):
    """w <- (1 - lr * decay) w - lr * (g + noise * xi) (1 - s) (Elsayed & Mahmood 2024, arXiv 2404.00781).

    s = sigmoid(U / max U) with the utility U <- beta * U + (1 - beta) * (-g w), corrected for its start at 0,
    and the largest of all weights. If that is not positive, the published gate inverts: here no weight is
    then protected. It is SGD without momentum, so by a recipe with momentum 0.9 it moves ten times less than
    others: tune the learning rate of all. Weak for convolutional networks that are trained in epochs.

    Cost: one copy of the weights, and a normal number a weight and step, drawn on the CPU; none with noise=0.
    """

    noise: float = tune(0.01, 1e-4, 1.0, log=True, within=(0.0, None))
    """Standard deviation, sigma."""
    beta: float = tune(0.999, 0.99, 0.9999, within=(0.0, 0.99999))
    """Decay of the utility's average."""
    decay: float = tune(1e-3, 1e-5, 1e-1, log=True, within=(0.0, None))
    """Decoupled weight decay."""
    gates: Literal["all", "noise"] = "all"
    """What a large utility holds back: the whole update, or the noise alone ("non-protecting")."""
    scale: Literal["global", "local"] = "global"
    """Divide utilities by the largest of all, or by the norm of their own row."""
    utility: list[Tensor] = field(default_factory=list, init=False)
    steps: int = field(default=0, init=False)

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"non_protecting_2024": {"gates": "noise"}}

    def recipe_changes(self) -> Mapping[str, Any]:
        """Return plain SGD, whose step `after_step` completes."""
        return {"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0}

    def start(self, learner: Learner) -> None:
        """Begin the averages."""
        self.utility = [torch.zeros_like(weight) for weight in parameters_in(learner.model, "all")]

    def after_step(self, learner: Learner) -> None:
        """Measure the utility of the weights before the step, and give back what is held back."""
        self.steps += 1
        rates = {w: group["lr"] for group in learner.optimizer.param_groups for w in group["params"]}
        weights = parameters_in(learner.model, "all")
        gradients = [torch.zeros_like(w) if w.grad is None else w.grad for w in weights]
        before = [w + rates[w] * g for w, g in zip(weights, gradients, strict=True)]
        for u, w, g in zip(self.utility, before, gradients, strict=True):
            u.lerp_(-g * w, 1 - self.beta)
        changes = zip(weights, before, gradients, self._gates(), strict=True)
        for weight, old, gradient, gate in changes:
            held_back = gate * gradient if self.gates == "all" else 0.0
            change = held_back - (1 - gate) * self._noise(learner, weight) - self.decay * old
            weight.add_(rates[weight] * change)

    def _gates(self) -> list[Tensor]:
        corrected = [u / (1 - self.beta**self.steps) for u in self.utility]
        if self.scale == "local":
            return [F.normalize(u, dim=-1).sigmoid() for u in corrected]
        largest = torch.stack([u.max() for u in corrected]).max().clamp_min(torch.finfo(torch.float).tiny)
        return [(u / largest).sigmoid() for u in corrected]

    def _noise(self, learner: Learner, weight: Tensor) -> Tensor | float:
        if self.noise == 0:
            return 0.0
        return self.noise * torch.randn(weight.shape, generator=learner.generator).to(weight.device)
