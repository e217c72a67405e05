"""Parseval regularization: keep the rows of weight matrices orthogonal and of one norm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from plastibench.api import Learner, Method, Task, norm_layers, setting, tune, weight_layers


@dataclass(kw_only=True)
class Parseval(Method):
    """loss + strength * sum_l (64 / n_l)^2 * ||W_l W_l^T - s * I||^2 (Chung et al. 2024, arXiv 2412.07224).

    Over all layers but the last; a weight is the matrix of its first dimension, n_l, by the others. More rows
    than columns cannot be orthogonal: then W^T W is used, which is smaller, has the same gradient, and leaves
    out a constant. The FIRE code (arXiv 2602.08040) has s = 1 and no factor for the width, and penalizes
    (w^2 - s)^2 of the weights of normalization, too.

    Cost: about 7 % of the FLOPs of training (a ResNet-18 and batches of 128), and the products in a step.
    """

    strength: float = tune(1e-4, 1e-6, 1e-1, log=True, within=(0.0, None))
    """lambda"""
    scale: float = setting(2.0, within=(0.0, None))
    """s: the square of the gain, which is the square root of 2 for ReLU."""
    tuned_width: int | None = setting(64, within=(1, None))
    """The width for which `strength` is meant; none leaves the factor out."""
    norm_weights: bool = False
    """Whether to draw the squares of the weights of normalization to `scale`, too."""
    matrices: list[Tensor] = field(default_factory=list, init=False)
    """The weights that are penalized."""

    capturable: ClassVar[bool] = True
    disabled: ClassVar[Mapping[str, Any]] = {"strength": 0.0}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "chung_2024": {},
        "han_2026": {"scale": 1.0, "tuned_width": None, "norm_weights": True},
    }

    def start(self, learner: Learner) -> None:
        """List the weights of all layers but the last."""
        *layers, head = weight_layers(learner.model, head=learner.head_name())
        own = [
            p for layer in layers for p in layer.parameters(recurse=False) if p.requires_grad and p.dim() > 1
        ]
        self.matrices = [p for p in dict.fromkeys(own) if all(p is not q for q in head.parameters())]

    def loss_term(self, learner: Learner, logits: Tensor, y: Tensor) -> Tensor:
        """Return the penalty at the current weights."""
        with learner.counting():
            terms = [self._distance(weight.flatten(1)) for weight in self.matrices]
        if self.norm_weights:
            gains = dict.fromkeys(n.weight for n in norm_layers(learner.model) if n.weight.requires_grad)
            terms += [(gain.square() - self.scale).square().sum() for gain in gains]
        return self.strength * torch.stack(terms).sum()

    def unsupported(self, task: Task) -> str | None:
        """Return the reason if there is no layer before the last."""
        return "the model has no layer before the last" if len(weight_layers(task.model())) < 2 else None

    def _distance(self, matrix: Tensor) -> Tensor:
        rows, columns = matrix.shape
        gram = matrix @ matrix.T if rows <= columns else matrix.T @ matrix
        identity = torch.eye(len(gram), device=gram.device, dtype=gram.dtype)
        factor = 1.0 if self.tuned_width is None else (self.tuned_width / rows) ** 2
        return factor * (gram - self.scale * identity).square().sum()
