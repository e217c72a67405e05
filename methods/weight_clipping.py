"""Weight clipping: keep every weight within a multiple of the bound of its initialization."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from plastibench.api import Learner, Method, parameters_in, tune, weight_layers


@dataclass(kw_only=True)
class WeightClipping(Method):
    """w <- min(max(w, -kappa * s_l), kappa * s_l) after each step (Elsayed et al. 2024, arXiv 2407.01704).

    s_l is 1 / sqrt(fan_in), the bound of torch's uniform initialization, for the weights and biases of a
    layer (bound=fan_in). The authors' code takes 1 / sqrt(outputs + inputs), whatever the size of a kernel,
    and 1 for every vector, normalization included (bound=shape). Weights that all stay at their bounds keep
    their direction, which is all that they have before a normalization.

    Cost: two element-wise operations a step; no memory.
    """

    kappa: float = tune(2.0, 0.5, 10.0, log=True, within=(0.0, None))
    """Multiple of the initial bound that no weight exceeds."""
    bound: Literal["fan_in", "shape"] = "fan_in"
    """By the inputs of a unit, or by the shape of the parameter."""
    head: bool = True
    """Whether to clip the output layer, too."""
    parameters: list[Tensor] = field(default_factory=list, init=False)
    bounds: list[float] = field(default_factory=list, init=False)
    """s_l of each of the parameters."""

    capturable: ClassVar[bool] = True
    disabled: ClassVar[Mapping[str, Any]] = {"kappa": 1e9}
    active: ClassVar[Mapping[str, Any]] = {"kappa": 0.5}

    def start(self, learner: Learner) -> None:
        """List the parameters and their bounds."""
        model = learner.model
        if self.bound == "shape":
            found = {p: sum(p.shape[:2]) ** -0.5 if p.dim() > 1 else 1.0 for p in parameters_in(model, "all")}
        else:
            found = {p: s for layer in weight_layers(model) for p, s in self._of_layer(layer).items()}
        if not self.head:
            own = set(weight_layers(model, head=learner.head_name())[-1].parameters(recurse=False))
            found = {p: s for p, s in found.items() if p not in own}
        self.parameters, self.bounds = list(found), list(found.values())

    def after_step(self, learner: Learner) -> None:
        """Clip."""
        bounds = [self.kappa * bound for bound in self.bounds]
        torch._foreach_clamp_max_(self.parameters, bounds)
        torch._foreach_clamp_min_(self.parameters, [-bound for bound in bounds])

    @staticmethod
    def _of_layer(layer: nn.Module) -> dict[nn.Parameter, float]:
        """Return the bound of each trained parameter: vectors have that of the layer's first matrix."""
        parameters = list(layer.parameters(recurse=False))
        fan_in = next(p[0].numel() for p in parameters if p.dim() > 1)
        return {p: (p[0].numel() if p.dim() > 1 else fan_in) ** -0.5 for p in parameters if p.requires_grad}
