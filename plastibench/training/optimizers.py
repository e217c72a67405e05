"""Optimizers, all stepped with `step(closure)`, and the learning-rate schedule within a stage."""

from collections.abc import Callable, Collection, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer

from plastibench.plugins.recipe import Recipe
from plastibench.training.muon import Muon
from plastibench.training.sam import SAM

IMPLEMENTATION_OPTIONS = ("lr", "fused", "foreach", "capturable")
"""Options of a parameter group that say how, and not by which rule, an update is computed."""


def build_optimizer(
    recipe: Recipe,
    parameters: Iterable[Tensor] | list[dict[str, Any]],
    lr: float | Tensor | None = None,
    matrices: Callable[[], Collection[Tensor]] = tuple,
) -> Optimizer:
    """Return the recipe's optimizer over `parameters`, or over groups of them.

    `lr` defaults to the recipe's learning rate. If it is a tensor, the optimizer is fused and reads the rate
    from it at each step, so that steps can be captured. `matrices` returns the weight matrices of hidden
    layers, for an optimizer that tells them apart.
    """
    fused = isinstance(lr, Tensor)
    common: dict[str, Any] = {"weight_decay": recipe.weight_decay, "fused": fused or None}
    common["lr"] = recipe.learning_rate if lr is None else lr
    weights: Any = list(parameters)
    if recipe.optimizer == "muon":
        del common["fused"]
        return Muon(weights, momentum=recipe.momentum, matrices=matrices, **common)
    if recipe.optimizer in ("adam", "adamw"):
        cls = Adam if recipe.optimizer == "adam" else AdamW
        return cls(weights, betas=(recipe.momentum, 0.999), capturable=fused, **common)
    sgd = SGD(weights, momentum=recipe.momentum, **common)
    return SAM(sgd, recipe.rho, recipe.adaptive) if recipe.optimizer == "sam" else sgd


def load_optimizer_state(optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Load a state, but keep the optimizer's implementation options and the tensor that holds its rate."""
    current = [_implementation_options(group) for group in optimizer.param_groups]
    groups = [saved | options for saved, options in zip(state["param_groups"], current, strict=True)]
    optimizer.load_state_dict(state | {"param_groups": groups})
    for group, options, saved in zip(optimizer.param_groups, current, state["param_groups"], strict=True):
        group["lr"] = options["lr"]
        _set_group_lr(group, float(saved["lr"]))


def _implementation_options(group: dict[str, Any]) -> dict[str, Any]:
    return {name: group[name] for name in IMPLEMENTATION_OPTIONS if name in group}


def start_schedule(optimizer: Optimizer, recipe: Recipe, make_lr: Callable[[float], float | Tensor]) -> None:
    """Let each group's present rate be its base rate, `initial_lr`, for the stage that begins.

    Gives groups that a method has made the form in which the device takes optimizers and their rates.
    """
    form = build_optimizer(recipe, [torch.zeros(1)], make_lr(recipe.learning_rate)).param_groups[0]
    options = _implementation_options(form)
    for group in optimizer.param_groups:
        base = _base_rate(group, recipe)
        group.update({**options, "lr": make_lr(base), "initial_lr": base})
        if group.get("fused") and group.get("momentum"):
            _start_momentum(optimizer, group["params"])


def _start_momentum(optimizer: Optimizer, weights: list[Tensor]) -> None:
    """Give weights that were frozen so far a momentum of 0: fused SGD has it for all weights or for none."""
    trained = [weight for weight in weights if weight.requires_grad]
    new = [weight for weight in trained if optimizer.state.get(weight, {}).get("momentum_buffer") is None]
    if len(new) < len(trained):
        for weight in new:
            optimizer.state[weight]["momentum_buffer"] = torch.zeros_like(weight)


def _base_rate(group: dict[str, Any], recipe: Recipe) -> float:
    """Return the rate of a group as it was given, before a tensor of less precision held it."""
    lr = group["lr"]
    for given in (group.get("initial_lr", recipe.learning_rate), recipe.learning_rate):
        held = torch.tensor(given, dtype=lr.dtype) if isinstance(lr, Tensor) else given
        if float(lr) == float(held):
            return float(given)
    return float(lr)


def set_learning_rates(
    optimizer: Optimizer, recipe: Recipe, epoch: int, step: int, steps_per_epoch: int
) -> None:
    """Set the rate of every group for a step, each from its own base rate."""
    for group in optimizer.param_groups:
        _set_group_lr(group, learning_rate(recipe, epoch, step, steps_per_epoch, _initial_lr(group)))


def end_schedule(optimizer: Optimizer) -> None:
    """Set every group back to its base rate."""
    for group in optimizer.param_groups:
        _set_group_lr(group, _initial_lr(group))


def _initial_lr(group: dict[str, Any]) -> float:
    """Return the base rate of a group; of one added since the stage began, the rate that it came with."""
    if "initial_lr" not in group:  # reading a tensor makes the host wait: once, not at every step
        group["initial_lr"] = float(group["lr"])
    return float(group["initial_lr"])


def learning_rate(
    recipe: Recipe, epoch: int, step: int, steps_per_epoch: int, base: float | None = None
) -> float:
    """Return the learning rate of a step; epoch and step count from 0 at the start of the stage.

    `base` is the full rate, by default the recipe's. The warm-up rises from 0 to it over its epochs, so its
    first step moves nothing. Every stage starts again: a decay in the stage before does not carry over.
    """
    lr = recipe.learning_rate if base is None else base
    if epoch < recipe.warmup_epochs:
        return lr * step / (recipe.warmup_epochs * steps_per_epoch)
    return lr * recipe.decay ** sum(epoch >= milestone for milestone in recipe.milestones)


def _set_group_lr(group: dict[str, Any], lr: float) -> None:
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(lr)
    else:
        group["lr"] = lr
