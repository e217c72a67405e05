"""Wasserstein-init: penalize the distance from the distribution of the initial weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from plastibench.api import Learner, Method, parameters_in, tune


@dataclass(kw_only=True)
class WassersteinInit(Method):
    """loss + strength * sum_l ||sort(w_l) - sort(w0_l)||^2 (Lewandowski et al. 2023, arXiv 2312.00246).

    The squared 2-Wasserstein distance of the values of each parameter from its initial ones, times their
    number; other code divides by it (form=mean). Weights may move as long as their distribution stays.
    Parameters that begin constant, such as those of normalization and biases of 0, have no distribution to
    keep and are left out.

    Cost: a sort of all weights in every step, and a copy of the weights.
    """

    strength: float = tune(1e-3, 1e-6, 1.0, log=True, within=(0.0, None))
    """lambda"""
    form: Literal["sum", "mean"] = "sum"
    """Over the values of a parameter."""
    weights: list[Tensor] = field(default_factory=list, init=False)
    """All trained parameters."""
    initial: list[Tensor] = field(default_factory=list, init=False)
    """Their initial values, in ascending order."""
    varies: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.bool), init=False)
    """Whether the initial values of each differ: constants are left out."""

    capturable: ClassVar[bool] = True
    disabled: ClassVar[Mapping[str, Any]] = {"strength": 0.0}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"chung_2024": {"form": "mean"}}

    def start(self, learner: Learner) -> None:
        """Sort the initial values."""
        self.weights = list(parameters_in(learner.model, "all"))
        self.initial = [p.detach().flatten().sort().values for p in self.weights]
        self.varies = torch.stack([first[0] < first[-1] for first in self.initial])

    def loss_term(self, learner: Learner, logits: Tensor, y: Tensor) -> Tensor:
        """Return the penalty at the current weights."""
        pairs = zip(self.weights, self.initial, strict=True)
        squares = [(p.flatten().sort().values - first).square() for p, first in pairs]
        terms = [part.sum() if self.form == "sum" else part.mean() for part in squares]
        return self.strength * torch.stack(terms).where(self.varies, 0.0).sum()
