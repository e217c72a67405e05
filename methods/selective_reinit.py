"""Selective weight reinitialization: draw the weights of least use again, in every parameter by itself."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from plastibench.api import Learner, Method, parameters_in, tune


@dataclass(kw_only=True)
class SelectiveReinit(Method):
    """Draw w_i again if |g_i w_i| <= share * mean |g w| (Hernandez-Garcia et al. 2025, arXiv 2508.00212).

    Every `period` steps, in each parameter by itself, those of normalization included. The other rule of the
    paper draws the fraction `share` of least use again, its number rounded at random. New values are those of
    a newly initialized model; the optimizer keeps its state, as in the authors' code. A run of fewer steps
    than the published period, 2048, is a warm start.

    Cost: a comparison with the mean, or a sort, of every parameter and one draw of a model, once a period.
    """

    share: float = tune(1e-5, 1e-6, 1e-2, log=True, within=(0.0, 1.0))
    """q; 0 draws nothing again."""
    period: int = tune(2048, 32, 4096, log=True, within=(1, None))
    """Steps between two draws."""
    rule: Literal["threshold", "fraction"] = "threshold"
    """Entries below `share` of the mean use, or the `share` of entries of least use."""
    utility: Literal["gradient", "magnitude"] = "gradient"
    """|g w|, or |w| alone."""

    disabled: ClassVar[Mapping[str, Any]] = {"share": 0.0}
    active: ClassVar[Mapping[str, Any]] = {"share": 0.2, "period": 2}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "hernandez_garcia_2025": {},
        "hernandez_garcia_2025_vit": {"rule": "fraction", "share": 5e-4, "period": 128},
    }

    def start(self, learner: Learner) -> None:
        """Report a stage in which nothing is drawn, too."""
        learner.log("weights_recycled", 0, "sum")

    def before_stage(self, learner: Learner) -> None:
        """Report a stage in which nothing is drawn, too."""
        learner.log("weights_recycled", 0, "sum")

    def after_step(self, learner: Learner) -> None:
        """Draw weights again once a period."""
        if learner.step % self.period or not self.share:
            return
        weights, fresh = (parameters_in(model, "all") for model in (learner.model, learner.fresh_model()))
        for weight, new in zip(weights, fresh, strict=True):
            mask = self._least_used(weight, learner.generator)
            weight.copy_(new.where(mask, weight))
            learner.log("weights_recycled", mask.sum(), "sum")

    def _least_used(self, weight: Tensor, generator: torch.Generator) -> Tensor:
        utility = weight.abs()
        if self.utility == "gradient":
            utility = utility * (torch.zeros_like(weight) if weight.grad is None else weight.grad.abs())
        if self.rule == "threshold":
            return utility <= self.share * utility.mean()
        number = math.floor(self.share * weight.numel() + float(torch.rand((), generator=generator)))
        least = utility.flatten().topk(number, largest=False).indices
        return (
            torch.zeros_like(utility, dtype=torch.bool).flatten().index_fill_(0, least, True).view_as(weight)
        )
