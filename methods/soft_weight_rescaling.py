"""Soft weight rescaling: after each step, pull the norm of every weight matrix toward its initial one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import Parameter

from plastibench.api import Learner, Method, Task, norm_layers, tune, weight_layers


@dataclass(kw_only=True)
class SoftWeightRescaling(Method):
    """c_l = (s ||W0_l|| + (1 - s) ||W_l||) / ||W_l||; W_l <- c_l W_l; b_l <- (c_1 ... c_l) b_l.

    After each step (Oh et al. 2025, arXiv 2507.04683), with one strength s for the head and one for the
    layers before it. The product of a bias is that of the layers since the last normalization, which undoes
    the scale of what is before it; so a ReLU network computes a multiple of what it did. Layers are taken in
    the order in which the model lists them, the head last; the branches of a residual network are one chain.

    Not to be confused with selective weight reinitialization, which is also called SWR. Its formula is for
    chains of linear layers and convolutions: models with others are refused.

    Cost: some element-wise operations a step; no memory.
    """

    trunk: float = tune(1e-3, 1e-5, 1e-1, log=True, within=(0.0, 1.0))
    """Strength for all layers but the head."""
    head: float = tune(1e-3, 1e-5, 1e-1, log=True, within=(0.0, 1.0))
    """Strength for the head."""
    weights: list[Tensor] = field(default_factory=list, init=False)
    """The matrices that are rescaled."""
    biases: list[tuple[Parameter, list[int]]] = field(default_factory=list, init=False)
    """Each bias, with the indices of the matrices whose factors it is multiplied by."""
    norms: Tensor = field(default_factory=lambda: torch.zeros(0), init=False)
    strengths: Tensor = field(default_factory=lambda: torch.zeros(0), init=False)

    capturable: ClassVar[bool] = True
    disabled: ClassVar[Mapping[str, Any]] = {"trunk": 0.0, "head": 0.0}
    active: ClassVar[Mapping[str, Any]] = {"trunk": 0.01, "head": 0.01}

    def start(self, learner: Learner) -> None:
        """Measure the initial norms, and find the matrices before each bias."""
        layers = weight_layers(learner.model, head=learner.head_name())
        trained = dict.fromkeys(layer.weight for layer in layers if layer.weight.requires_grad)
        self.weights = list(trained)
        self.norms = torch.stack([weight.norm() for weight in self.weights])
        is_head = [weight is layers[-1].weight for weight in self.weights]
        self.strengths = torch.where(torch.tensor(is_head), self.head, self.trunk).to(self.norms)
        index = {weight: i for i, weight in enumerate(self.weights)}
        norms, chain, self.biases = set(norm_layers(learner.model)), list[int](), []
        for module in _in_order(learner.model, layers):
            if module in norms:
                chain = []
            elif module in layers:
                chain = chain + ([index[module.weight]] if module.weight in index else [])
                if module.bias is not None and module.bias.requires_grad:
                    self.biases.append((module.bias, chain))

    def after_step(self, learner: Learner) -> None:
        """Rescale every matrix and every bias."""
        sizes = torch.stack(torch._foreach_norm(self.weights))
        wanted = self.strengths * self.norms + (1 - self.strengths) * sizes
        factors: list[Tensor] = list(torch.where(sizes > 0, wanted / sizes, 1.0))
        torch._foreach_mul_(self.weights, factors)
        for bias, chain in self.biases:
            for i in chain:
                bias.mul_(factors[i])

    def unsupported(self, task: Task) -> str | None:
        """Return the reason if a layer is neither linear nor a convolution."""
        for layer in weight_layers(self.build(task)):
            if not isinstance(layer, nn.Linear | nn.modules.conv._ConvNd):
                return (
                    f"the formula is for linear layers and convolutions: the model has {type(layer).__name__}"
                )
        return None


def _in_order(model: nn.Module, layers: list[Any]) -> list[Any]:
    """Return the modules of a model, its head last."""
    return [module for module in model.modules() if module is not layers[-1]] + [layers[-1]]
