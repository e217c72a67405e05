"""AID: drop the positive part of a unit at random, and pass on its negative part instead."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from plastibench.api import LayerSwap, OptimizerStatePolicy, tune


class IntervalDropout(nn.Module):
    """One of two intervals at random in training, their mean in evaluation.

    As torch's dropout it draws from the device's generator, which every stage seeds and checkpoints hold.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, z: Tensor) -> Tensor:
        """Map a tensor to one of the same shape."""
        positive = z >= 0
        if not self.training:
            return torch.where(positive, self.p * z, (1 - self.p) * z)
        kept = torch.empty_like(z, dtype=torch.bool).bernoulli_(self.p)
        return torch.where(kept == positive, z, 0.0)

    def extra_repr(self) -> str:
        """Return the probability."""
        return f"p={self.p}"


@dataclass(kw_only=True)
class DropoutInterval(LayerSwap):
    """h = max(z, 0) with probability p, else min(z, 0) (AID; Park et al. 2025, arXiv 2502.01342).

    Drawn for each unit, pixel and example. In evaluation h is the mean: p * z for z >= 0, (1 - p) * z below.
    The paper clears the optimizer's state at every stage, has 0.9 on CIFAR-10, 0.7 on CIFAR-100 and
    Tiny-ImageNet, and pools by averages; here the models keep their max-pools. Both passes of SAM draw.

    Cost: one random number for each unit, which on a CPU more than doubles the time of a step; no state.
    """

    optimizer_state: OptimizerStatePolicy = "clear"
    p: float = tune(0.9, 0.6, 0.995, within=(0.0, 1.0))
    """Probability of the positive part; 1 is ReLU."""

    disabled: ClassVar[Mapping[str, Any]] = {"p": 1.0, "optimizer_state": "keep"}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "cold": {"restart": True},
        "park_2025_cifar100": {"p": 0.7},
    }

    def factories(self) -> Mapping[str, Callable[..., nn.Module]]:
        """Return the activation, if it is another one than ReLU."""
        return {} if self.p == 1 else {"activation": partial(IntervalDropout, self.p)}
