"""Optimizers, all stepped with `step(closure)`, and the learning-rate schedule within a stage."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from plastibench.errors import RequestError
from plastibench.plugins.recipe import Recipe

Closure = Callable[[], Tensor]
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
        super().__init__(inner.param_groups, inner.defaults)

    # Groups and state are the inner optimizer's: what is changed here is changed there.
    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Return the groups of the inner optimizer."""
        return self.inner.param_groups

    @param_groups.setter
    def param_groups(self, groups: list[dict[str, Any]]) -> None:
        self.inner.param_groups = groups

    @property
    def state(self) -> Any:  # noqa: ANN401 - torch's own type
        """Return the state of the inner optimizer."""
        return self.inner.state

    @state.setter
    def state(self, state: Any) -> None:  # noqa: ANN401 - torch's own type
        self.inner.state = state

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

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the inner optimizer, with what a method may have changed here."""
        return {**self.inner.state_dict(), "rho": self.rho, "adaptive": self.adaptive}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state that `state_dict` returned."""
        self.rho = state_dict.get("rho", self.rho)
        self.adaptive = state_dict.get("adaptive", self.adaptive)
        self.inner.load_state_dict(state_dict)

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
    recipe: Recipe, parameters: Iterable[Tensor] | list[dict[str, Any]], lr: float | Tensor | None = None
) -> Optimizer:
    """Return the recipe's optimizer over `parameters`, or over groups of them.

    `lr` defaults to the recipe's learning rate. If it is a tensor, the optimizer is fused and reads the rate
    from it at each step, so that steps can be captured.
    """
    fused = isinstance(lr, Tensor)
    common: dict[str, Any] = {"weight_decay": recipe.weight_decay, "fused": fused or None}
    common["lr"] = recipe.learning_rate if lr is None else lr
    weights: Any = list(parameters)
    if recipe.optimizer in ("adam", "adamw"):
        cls = Adam if recipe.optimizer == "adam" else AdamW
        return cls(weights, betas=(recipe.momentum, 0.999), capturable=fused, **common)
    sgd = SGD(weights, momentum=recipe.momentum, **common)
    return SAM(sgd, recipe.rho, recipe.adaptive) if recipe.optimizer == "sam" else sgd


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
