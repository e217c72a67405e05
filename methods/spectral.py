"""Spectral regularization: keep the largest singular value of every weight matrix near 1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize

from plastibench.api import Learner, Method, norm_layers, parameters_in, tune


@dataclass(kw_only=True)
class Spectral(Method):
    """loss + strength * sum_l ((sigma_l^k - 1)^2 + ||b_l||^(2k)) (Lewandowski et al. 2024, arXiv 2406.06811).

    sigma_l is the largest singular value of a weight as a matrix, the first dimension by the others. The
    weights of normalization are drawn to 1 by their squared distance, its biases to 0 like all others.
    sigma_l is estimated by one step of power iteration a step, with a vector that is kept: a fresh vector at
    every step would make it too small, as it is in the first steps of a run. The paper tunes the strength.

    Cost: two products of each matrix with a vector a step, not counted as FLOPs (0.03 % for a ResNet-18 and
    batches of 128), and one vector for each matrix.
    """

    strength: float = tune(1e-4, 1e-6, 1e-1, log=True, within=(0.0, None))
    """lambda"""
    power: int = 2
    """k"""
    vectors: list[Tensor] = field(default_factory=list, init=False)
    """The left singular vector of each matrix, as estimated so far."""

    capturable: ClassVar[bool] = True
    disabled: ClassVar[Mapping[str, Any]] = {"strength": 0.0}

    def start(self, learner: Learner) -> None:
        """Draw the vectors that power iteration begins with."""
        draws = [torch.randn(len(w), generator=learner.generator) for w in self._matrices(learner)]
        self.vectors = [normalize(u, dim=0).to(learner.device.torch_device) for u in draws]

    def loss_term(self, learner: Learner, logits: Tensor, y: Tensor) -> Tensor:
        """Return the penalty at the current weights."""
        pairs = zip(self._matrices(learner), self.vectors, strict=True)
        sigmas = torch.stack([self._largest(matrix, u) for matrix, u in pairs])
        norms = norm_layers(learner.model)
        gains = dict.fromkeys(norm.weight for norm in norms if norm.weight.requires_grad)
        vectors = (p for layer in norms for p in layer.parameters(recurse=False) if p.requires_grad)
        biases = dict.fromkeys(p for p in (*parameters_in(learner.model, "layers"), *vectors) if p.dim() == 1)
        terms = [(sigmas**self.power - 1).square().sum()]
        terms += [(gain - 1).square().sum() for gain in gains]
        terms += [bias.square().sum() ** self.power for bias in biases if bias not in gains]
        return self.strength * torch.stack(terms).sum()

    def _matrices(self, learner: Learner) -> list[Tensor]:
        return [p.flatten(1) for p in parameters_in(learner.model, "layers") if p.dim() > 1]

    @staticmethod
    def _largest(matrix: Tensor, u: Tensor) -> Tensor:
        """Take one step of power iteration in place and return the singular value; of zeros, u stays."""
        v = normalize(matrix.detach().T @ u, dim=0)
        sigma: Tensor = torch.linalg.vector_norm(matrix @ v)
        with torch.no_grad():
            u.copy_(torch.where(sigma > 0, normalize(matrix @ v, dim=0), u))
        return sigma
