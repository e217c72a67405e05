"""Optimizers, all stepped with `step(closure)`, and the learning-rate schedule within a stage."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer

from plastibench.plugins.recipe import Recipe

Closure = Callable[[], Tensor]
ADAMS: dict[str, type[Adam]] = {"adam": Adam, "adamw": AdamW}
IMPLEMENTATION_OPTIONS = ("lr", "fused", "foreach", "capturable")
"""Options of a parameter group that say how, and not by which rule, an update is computed."""


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
        # Shared lists: a learning rate set here is also the inner optimizer's.
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
            original = [p.clone() for p in weights]
            torch._foreach_add_(weights, self._ascent(weights))
        with torch.enable_grad():
            closure()
        with torch.no_grad():
            torch._foreach_copy_(weights, original)
        self.inner.step()
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state into the inner optimizer, and keep sharing it."""
        self.inner.load_state_dict(state_dict)
        self.param_groups = self.inner.param_groups
        self.state = self.inner.state

    def _ascent(self, weights: list[Tensor]) -> list[Tensor]:
        gradients = [p.grad for p in weights if p.grad is not None]
        if self.adaptive:
            sizes = torch._foreach_abs(weights)
            gradients = list(torch._foreach_mul(gradients, sizes))
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        # The scale stays on the device: reading it would make the host wait at every step.
        scale = self.rho / (norm + 1e-12)
        if self.adaptive:
            gradients = list(torch._foreach_mul(gradients, sizes))
        return list(torch._foreach_mul(gradients, scale))


def build_optimizer(
    recipe: Recipe, parameters: Iterable[Tensor], lr: float | Tensor | None = None
) -> Optimizer:
    """Return the recipe's optimizer over `parameters`.

    `lr` defaults to the recipe's learning rate. If it is a tensor, the optimizer is fused and reads the rate
    from it at each step, so that steps can be captured.
    """
    fused = isinstance(lr, Tensor)
    common: dict[str, Any] = {"weight_decay": recipe.weight_decay, "fused": fused or None}
    common["lr"] = recipe.learning_rate if lr is None else lr
    weights = list(parameters)
    if recipe.optimizer in ADAMS:
        betas = (recipe.momentum, 0.999)
        return ADAMS[recipe.optimizer](weights, betas=betas, capturable=fused, **common)
    sgd = SGD(weights, momentum=recipe.momentum, **common)
    return SAM(sgd, recipe.rho, recipe.adaptive) if recipe.optimizer == "sam" else sgd


def load_optimizer_state(optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Load a state, but keep the optimizer's implementation options and the tensor that holds its rate."""
    current = [
        {name: group[name] for name in IMPLEMENTATION_OPTIONS if name in group}
        for group in optimizer.param_groups
    ]
    groups = [saved | options for saved, options in zip(state["param_groups"], current, strict=True)]
    optimizer.load_state_dict(state | {"param_groups": groups})
    for group, options, saved in zip(optimizer.param_groups, current, state["param_groups"], strict=True):
        group["lr"] = options["lr"]
        _set_group_lr(group, float(saved["lr"]))


def learning_rate(recipe: Recipe, epoch: int, step: int, steps_per_epoch: int) -> float:
    """Return the learning rate of a step; epoch and step count from 0 at the start of the stage.

    The warm-up rises from 0 to the full rate over its epochs, so its first step moves nothing.
    Every stage starts again: a decay in the stage before does not carry over.
    """
    lr = recipe.learning_rate
    if epoch < recipe.warmup_epochs:
        return lr * step / (recipe.warmup_epochs * steps_per_epoch)
    return lr * recipe.decay ** sum(epoch >= milestone for milestone in recipe.milestones)


def set_learning_rate(optimizer: Optimizer, lr: float) -> None:
    """Set the learning rate of every parameter group."""
    for group in optimizer.param_groups:
        _set_group_lr(group, lr)


def _set_group_lr(group: dict[str, Any], lr: float) -> None:
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(lr)
    else:
        group["lr"] = lr
