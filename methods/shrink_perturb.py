"""Shrink & Perturb: scale the weights toward zero and add noise; four variants share the name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from plastibench.api import BatchNormPolicy, Learner, Method, OptimizerStatePolicy, Scope, parameters_in, tune


@dataclass(kw_only=True)
class ShrinkPerturb(Method):
    """w <- shrink * w + noise * p before each stage (Ash & Adams 2020, arXiv 1910.08475, section 4).

    `p` is a fresh draw of the initial weights, as in the authors' code (the default); Gaussian noise with
    variance 1, as in the DASH code; or the run's own initial weights, as in Hare & Tortoise and FIRE
    (arXiv 2406.02596, 2602.08040).

    Cost: one product and one sum for each weight in every stage, and a second model while they are computed.
    """

    optimizer_state: OptimizerStatePolicy = "clear"
    batch_norm: BatchNormPolicy = "reset"
    shrink: float = tune(0.4, 0.05, 0.95, within=(0.0, 1.0))
    """Factor of the old weights, lambda."""
    noise: float = tune(0.1, 1e-3, 1.0, log=True, within=(0.0, None))
    """Factor of the noise, sigma."""
    source: Literal["fresh", "gaussian", "initial"] = "fresh"
    """The noise: a new draw of the initial weights, Gaussian, or the initial weights of the run."""
    scope: Scope = "all"
    """Which parameters are changed: see `Scope`."""
    initial: list[Tensor] = field(default_factory=list, init=False)

    disabled: ClassVar[Mapping[str, Any]] = {
        "shrink": 1.0,
        "noise": 0.0,
        "optimizer_state": "keep",
        "batch_norm": "keep",
    }
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "ash_adams_2020": {},
        "dash_2024": {
            "shrink": 0.3,
            "noise": 0.01,
            "source": "gaussian",
            "scope": "layers",
            "optimizer_state": "keep",
            "batch_norm": "keep",
        },
        "fire_2026": {"shrink": 0.2, "noise": 0.8, "source": "initial", "batch_norm": "keep"},
    }

    def start(self, learner: Learner) -> None:
        """Copy the initial weights if they are the noise."""
        if self.source == "initial":
            self.initial = [w.detach().clone() for w in parameters_in(learner.model, self.scope)]

    def before_stage(self, learner: Learner) -> None:
        """Shrink and perturb every parameter in scope."""
        weights = parameters_in(learner.model, self.scope)
        for weight, noise in zip(weights, self._noise(learner, weights), strict=True):
            weight.mul_(self.shrink).add_(noise, alpha=self.noise)

    def _noise(self, learner: Learner, weights: list[torch.nn.Parameter]) -> list[Tensor]:
        if self.source == "initial":
            return self.initial
        if self.source == "fresh":
            return list(parameters_in(learner.fresh_model(), self.scope))
        return [torch.randn(w.shape, generator=learner.generator).to(w.device) for w in weights]
