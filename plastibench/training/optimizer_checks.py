"""What a method must leave of the optimizer: the recipe's class, and nothing that no checkpoint holds."""

import torch
from torch import nn
from torch.optim import SGD, Optimizer

from plastibench.errors import RequestError
from plastibench.plugins.recipe import Recipe
from plastibench.training.optimizers import build_optimizer
from plastibench.training.sam import SAM


def check_optimizer(optimizer: Optimizer, recipe: Recipe, model: nn.Module, method: str) -> None:
    """Raise RequestError if a method has replaced the optimizer, or left out what there is to train."""
    classes, allowed = _classes(optimizer), _classes(build_optimizer(recipe, [torch.zeros(1)]))
    if classes != allowed:
        raise RequestError(
            f"{method} replaces the optimizer by {classes[-1].__name__}: it must be the recipe's, "
            f"{allowed[0].__name__}, but its parameter groups may be changed"
        )
    held = {parameter for group in optimizer.param_groups for parameter in group["params"]}
    named = dict(model.named_parameters())
    missing = [name for name, weight in named.items() if weight.requires_grad and weight not in held]
    if missing:
        raise RequestError(
            f"{method} leaves {', '.join(missing[:5])} of the model without an optimizer: freeze what is not "
            "to be trained, or call learner.reset_optimizer() after a change of the model"
        )
    if held - set(named.values()):
        raise RequestError(
            f"{method} leaves parameters in the optimizer that the model does not have: call "
            "learner.reset_optimizer() after a change of the model"
        )


def _classes(optimizer: Optimizer) -> list[type[Optimizer]]:
    """Return the class of an optimizer, then that of the one inside SAM."""
    return [type(optimizer), *([type(optimizer.inner)] if isinstance(optimizer, SAM) else [])]


def check_attributes(optimizer: Optimizer, method: str) -> None:
    """Raise RequestError if a method has added hooks, functions or attributes, which a checkpoint lacks."""
    known = {*vars(SGD([torch.zeros(1)])), "inner", "rho", "adaptive"}
    for part in (optimizer, getattr(optimizer, "inner", optimizer)):
        if part._optimizer_step_pre_hooks or part._optimizer_step_post_hooks:
            raise RequestError(
                f"{method} registers hooks on the optimizer, which no checkpoint would have: use `after_step`"
            )
        added = {name for name in vars(part) if name not in known and not name.startswith("_")}
        if added:
            raise RequestError(
                f"{method} sets optimizer.{min(added)}, which no checkpoint would have: use `after_step`, "
                "options of parameter groups, or a field(init=False) of the method"
            )
