"""Optimizers, all stepped through `step(closure)`, and the learning rate's course within a stage."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer

from plastibench.plugins.recipe import Recipe

Closure = Callable[[], Tensor]
ADAMS: dict[str, type[Adam]] = {"adam": Adam, "adamw": AdamW}
HOW = ("lr", "fused", "foreach", "capturable")
"""What a group of parameters says about the way, and not the rule, in which they are updated."""


class SAM(Optimizer):
    """Sharpness-aware minimization (Foret et al. 2021, arXiv 2010.01412, equation 2).

    A step moves the weights to w + e with e = rho * g / ||g||_2, takes the gradient there, moves
    back, and lets the inner optimizer step with it. The adaptive form (Kwon et al. 2021, arXiv
    2102.11600, equation 6) has e = rho * |w|^2 * g / || |w| * g ||_2.
    """

    def __init__(self, inner: Optimizer, rho: float, adaptive: bool) -> None:
        self.inner = inner
        self.rho = rho
        self.adaptive = adaptive
        super().__init__(inner.param_groups, {})
        # One list for both: a learning rate set here is the inner optimizer's too.
        self.param_groups = inner.param_groups
        self.state = inner.state

    def step(self, closure: Closure | None = None) -> Tensor:  # type: ignore[override]
        """Take two forward-backward passes and one update; return the loss at the unmoved weights."""
        if closure is None:
            raise TypeError("SAM.step needs a closure: it takes the gradient twice")
        with torch.enable_grad():
            loss = closure()
        with torch.no_grad():
            weights = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
            before = [p.clone() for p in weights]
            torch._foreach_add_(weights, self._ascent(weights))
        with torch.enable_grad():
            closure()
        with torch.no_grad():
            torch._foreach_copy_(weights, before)
        self.inner.step()
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state into the inner optimizer, and go on sharing it."""
        self.inner.load_state_dict(state_dict)
        self.param_groups = self.inner.param_groups
        self.state = self.inner.state

    def _ascent(self, weights: list[Tensor]) -> list[Tensor]:
        gradients = [p.grad for p in weights if p.grad is not None]
        if self.adaptive:
            sizes = torch._foreach_abs(weights)
            gradients = list(torch._foreach_mul(gradients, sizes))
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        # The scale stays a tensor on the device: reading it would make the host wait at every step.
        scale = self.rho / (norm + 1e-12)
        if self.adaptive:
            gradients = list(torch._foreach_mul(gradients, sizes))
        return list(torch._foreach_mul(gradients, scale))


def build_optimizer(
    recipe: Recipe, parameters: Iterable[Tensor], rate: float | Tensor | None = None
) -> Optimizer:
    """Return the recipe's optimizer over `parameters`.

    `rate` is its learning rate in the form that the device wants, the recipe's own where None. With a
    tensor the optimizer is fused: it reads the rate where it lies, so its steps can be recorded.
    """
    fused = isinstance(rate, Tensor)
    common: dict[str, Any] = {"weight_decay": recipe.weight_decay, "fused": fused or None}
    common["lr"] = recipe.learning_rate if rate is None else rate
    kept = list(parameters)
    if recipe.optimizer in ADAMS:
        betas = (recipe.momentum, 0.999)
        return ADAMS[recipe.optimizer](kept, betas=betas, capturable=fused, **common)
    sgd = SGD(kept, momentum=recipe.momentum, **common)
    return SAM(sgd, recipe.rho, recipe.adaptive) if recipe.optimizer == "sam" else sgd


def load_optimizer_state(optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Give an optimizer a state that was kept; where its rate lies and how it computes stay as they are."""
    here = [{name: group[name] for name in HOW if name in group} for group in optimizer.param_groups]
    groups = [kept | mine for kept, mine in zip(state["param_groups"], here, strict=True)]
    optimizer.load_state_dict(state | {"param_groups": groups})
    for group, mine, kept in zip(optimizer.param_groups, here, state["param_groups"], strict=True):
        group["lr"] = mine["lr"]
        _set_rate(group, float(kept["lr"]))


def learning_rate(recipe: Recipe, epoch: int, step: int, steps_per_epoch: int) -> float:
    """Return the rate of a step; epoch and step count from 0 at the start of the stage.

    The warm-up rises from 0 to the full rate over its epochs, so its first step moves nothing.
    Every stage begins anew: a decay of the stage before does not last.
    """
    rate = recipe.learning_rate
    if epoch < recipe.warmup_epochs:
        return rate * step / (recipe.warmup_epochs * steps_per_epoch)
    return rate * recipe.decay ** sum(epoch >= milestone for milestone in recipe.milestones)


def set_learning_rate(optimizer: Optimizer, rate: float) -> None:
    """Give every parameter the same rate."""
    for group in optimizer.param_groups:
        _set_rate(group, rate)


def _set_rate(group: dict[str, Any], rate: float) -> None:
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(rate)
    else:
        group["lr"] = rate
