"""Continual Backprop: recycle, one by one, the old units that contribute least to the next layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from plastibench.api import HiddenUnits, Learner, Method, Task, recycle_units, tune, unsupported_units


@dataclass(kw_only=True)
class ContinualBackprop(Method):
    """u_i <- decay u_i + (1 - decay) mean |h_i| sum |w_out,i| (Dohare et al. 2024, arXiv 2306.13812, alg. 1).

    In every step `rate` x (units older than `maturity`) is added to a layer's account. While it exceeds 1,
    the mature unit of least utility is recycled and 1 is taken off. As in the authors' code for multilayer
    perceptrons, utilities are bias-corrected, and what a unit contributes on average is added to the bias of
    the next layer, if it has one. (Their code for ResNets adds utilities up without decay.)

    New weights come from one draw per stage: a unit that is recycled again gets those of another unit of it.

    Cost: elementwise on activations and weights in every step; two copies of the incoming weights.
    """

    rate: float = tune(1e-4, 1e-7, 1e-3, log=True, within=(0.0, 1.0))
    """Rho, the share of mature units that is recycled in a step."""
    maturity: int = tune(100, 50, 10_000, log=True, within=(0, None))
    """Steps for which a new unit is left alone."""
    decay: float = tune(0.99, 0.9, 0.999, within=(0.0, 0.9999))
    """Eta, of the running averages."""
    layers: list[dict[str, Tensor]] = field(default_factory=list, init=False)
    fresh: list[Tensor] = field(default_factory=list, init=False)

    capturable: ClassVar[bool] = True
    disabled: ClassVar[Mapping[str, Any]] = {"rate": 0.0}
    active: ClassVar[Mapping[str, Any]] = {"rate": 0.2, "maturity": 1}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "dohare_2024_imagenet": {"rate": 3e-4, "maturity": 100},
        "dohare_2024_cifar100": {"rate": 1e-5, "maturity": 1000},
    }

    def start(self, learner: Learner) -> None:
        """Watch, and start all accounts at 0."""
        learner.watch_activations()
        for units in learner.hidden_units():
            names = ("utility", "mean", "age")
            state = {name: torch.zeros(len(units), device=units.weight.device) for name in names}
            scalars = {name: torch.zeros((), device=units.weight.device) for name in ("due", "recycled")}
            self.layers.append({**state, **scalars})
        self.before_stage(learner)

    def before_stage(self, learner: Learner) -> None:
        """Draw new weights for the stage."""
        new = learner.hidden_units(learner.fresh_model())
        self.fresh = [units.weight.detach().clone() for units in new]

    def after_step(self, learner: Learner) -> None:
        """Update utilities and recycle what is due, all on the device."""
        layers, activations = learner.hidden_units(), learner.activations
        assert activations is not None, "they are watched"
        masks, fresh = [], []
        for units, h, state, pool in zip(layers, activations, self.layers, self.fresh, strict=True):
            masks.append(self._choose(units, h.float(), state))
            fresh.append(units.rotated(pool, state["recycled"]))
            state["recycled"].add_(masks[-1].sum())
        recycle_units(learner, layers, masks, fresh)
        learner.log("units_recycled", torch.stack([mask.sum() for mask in masks]).sum(), "sum")

    def _choose(self, units: HiddenUnits, h: Tensor, state: dict[str, Tensor]) -> Tensor:
        """Return which units to recycle, and move their mean contribution to the next biases."""
        utility, mean, age, due = (state[name] for name in ("utility", "mean", "age", "due"))
        age.add_(1)
        contribution = h.abs().mean((0, 2)) * units.outgoing_rows().abs().sum(1)
        utility.mul_(self.decay).add_(contribution, alpha=1 - self.decay)
        mean.mul_(self.decay).add_(h.mean((0, 2)), alpha=1 - self.decay)
        correction, mature = 1 - self.decay**age, age > self.maturity
        due.add_(self.rate * mature.sum())
        number = (due.ceil() - 1).clamp(0, len(units))
        rank = (utility / correction).where(mature, torch.inf).argsort(stable=True).argsort(stable=True)
        mask = mature & (rank < number)
        due.sub_(mask.sum())
        for part in units.outgoing:
            if part.module.bias is not None and part.module.bias.requires_grad:
                weight = part.module.weight
                moved = weight * part.spread(mask * mean / correction, weight)
                part.module.bias.add_(moved.movedim(1 - part.dim, 0).flatten(1).sum(1))
        for value in (utility, mean, age):
            value.masked_fill_(mask, 0.0)
        return mask

    def unsupported(self, task: Task) -> str | None:
        """Return why there are no units to recycle."""
        return unsupported_units(task)
