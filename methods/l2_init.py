"""L2-init: penalize the distance from the initial weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from torch import Tensor

from plastibench.api import Learner, Method, Scope, distances, parameters_in, tune


@dataclass(kw_only=True)
class L2Init(Method):
    """loss + strength * sum_l ||w_l - w0_l||^2 (Kumar et al. 2023, arXiv 2308.11958, equation 1).

    Published code has two other forms under the same name: half the sum, over all parameters but those of
    normalization (the authors'), and the square of the sum of norms, over every module's `weight` (the DASH
    code), which is larger by a factor of up to the number of modules.

    Cost: no passes; a few operations for each weight in every step, and a copy of the weights.
    """

    strength: float = tune(1e-2, 1e-6, 1e-1, log=True, within=(0.0, None))
    """lambda"""
    form: Literal["sum_of_squares", "half_sum_of_squares", "square_of_sums"] = "sum_of_squares"
    """The sum of squared norms, half of it, or the square of the sum of norms."""
    scope: Scope = "all"
    """Which parameters are penalized: see `Scope`."""
    initial: list[Tensor] = field(default_factory=list, init=False)

    capturable: ClassVar[bool] = True
    disabled: ClassVar[Mapping[str, Any]] = {"strength": 0.0}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "kumar_2023": {"form": "half_sum_of_squares", "scope": "layers"},
        "dash_2024": {"form": "square_of_sums", "scope": "module_weights"},
        "gaudi_dash_2024": {"strength": 1e-5, "form": "square_of_sums", "scope": "module_weights"},
    }

    def start(self, learner: Learner) -> None:
        """Copy the initial weights of the run."""
        self.initial = [w.detach().clone() for w in parameters_in(learner.model, self.scope)]

    def loss_term(self, learner: Learner, logits: Tensor, y: Tensor) -> Tensor:
        """Return the penalty at the current weights."""
        weights: list[Tensor] = list(parameters_in(learner.model, self.scope))
        norms = distances(weights, self.initial)
        if self.form == "square_of_sums":
            return self.strength * norms.sum().square()
        half = 0.5 if self.form == "half_sum_of_squares" else 1.0
        return self.strength * half * norms.square().sum()
