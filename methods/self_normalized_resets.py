"""Self-Normalized Resets: recycle a unit that is silent for longer than its own pauses suggest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from plastibench.api import Learner, Method, Task, recycle_units, setting, tune, unsupported_units

BINS = 32


@dataclass(kw_only=True)
class SelfNormalizedResets(Method):
    """Recycle unit i if its pause a_i >= tau_i (Farias & Jozefiak 2025, arXiv 2410.20098, algorithm 1).

    a_i is the number of examples since unit i last fired, in whole batches: it fires in a batch if its
    activation exceeds `firing` for one example and position. tau_i follows the pauses that ended: every
    `update_period` steps it becomes their quantile if that is lower, else it doubles, from one batch to
    `max_pause`; a unit without any keeps its tau. The quantile is found to within a bin of a histogram of 32
    that grow geometrically (one bin per length would take 625 MB for a ResNet-18). Activations must have a
    threshold, as ReLU has; channels with batch normalization fire in almost every batch, and none of them is
    then recycled. New weights come from one draw per stage, as in `continual_backprop`.

    Cost: elementwise on activations and weights in every step; two copies of the incoming weights.
    """

    reject: float = tune(0.04, 0.005, 0.1, log=True, within=(0.0, 1.0))
    """The share of pauses that are longer than tau, 1 - eta; 0 recycles nothing."""
    update_period: int = setting(16, within=(1, None))
    """Steps between two updates of tau; the authors' code has one per task."""
    max_pause: int = setting(20_000, within=(1, None))
    """The largest tau in examples, and the first one."""
    firing: float = 0.0
    """The activation above which a unit fires."""
    layers: list[dict[str, Tensor]] = field(default_factory=list, init=False)
    fresh: list[Tensor] = field(default_factory=list, init=False)

    capturable: ClassVar[bool] = True
    disabled: ClassVar[Mapping[str, Any]] = {"reject": 0.0}
    active: ClassVar[Mapping[str, Any]] = {"update_period": 1, "max_pause": 32, "firing": 2.5}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"fire_2026": {"reject": 0.02}}

    def start(self, learner: Learner) -> None:
        """Watch; no unit has paused yet."""
        learner.watch_activations()
        for units in learner.hidden_units():
            device = units.weight.device
            self.layers.append(
                {
                    "pause": torch.zeros(len(units), device=device),
                    "tau": torch.full((len(units),), float(self.max_pause), device=device),
                    "ended": torch.zeros(len(units), BINS, device=device),
                    "steps": torch.zeros((), device=device),
                    "recycled": torch.zeros((), device=device),
                }
            )
        self.before_stage(learner)

    def before_stage(self, learner: Learner) -> None:
        """Draw new weights for the stage."""
        new = learner.hidden_units(learner.fresh_model())
        self.fresh = [units.weight.detach().clone() for units in new]

    def after_step(self, learner: Learner) -> None:
        """Count pauses, update tau and recycle what is silent for too long, all on the device."""
        layers, activations = learner.hidden_units(), learner.activations
        assert activations is not None, "they are watched"
        lengths = self._lengths(learner)
        masks, fresh = [], []
        for units, h, state, pool in zip(layers, activations, self.layers, self.fresh, strict=True):
            masks.append(self._silent(h, state, lengths))
            fresh.append(units.rotated(pool, state["recycled"]))
            state["recycled"].add_(masks[-1].sum())
        recycle_units(learner, layers, masks, fresh)
        learner.log("units_recycled", torch.stack([mask.sum() for mask in masks]).sum(), "sum")

    def _lengths(self, learner: Learner) -> Tensor:
        """Return the longest pause of each bin (bins,): none, then from a batch to the largest tau."""
        batch = min(learner.task.recipe.batch_size, self.max_pause)
        growth = torch.linspace(0, 1, BINS - 1, device=learner.device.torch_device)
        return torch.cat([growth.new_zeros(1), batch * (self.max_pause / batch) ** growth])

    def _silent(self, h: Tensor, state: dict[str, Tensor], lengths: Tensor) -> Tensor:
        """Return which units are silent for too long, after a batch."""
        pause, tau, ended, steps = (state[name] for name in ("pause", "tau", "ended", "steps"))
        fires = (h > self.firing).any(2).any(0)
        # The shortest length that is not exceeded; rounding must not lift a batch over the first one.
        bin_of_pause = torch.searchsorted(lengths * (1 + 1e-6), pause).clamp(max=BINS - 1)
        ended.scatter_add_(1, bin_of_pause[:, None], fires[:, None].to(ended))
        pause.copy_(torch.where(fires, 0.0, pause + len(h)))
        steps.add_(1)
        self._update(tau, ended, lengths, due=steps % self.update_period == 0)
        mask = pause >= tau if self.reject else torch.zeros_like(fires)
        pause.masked_fill_(mask, 0.0)
        return mask

    def _update(self, tau: Tensor, ended: Tensor, lengths: Tensor, *, due: Tensor) -> None:
        total = ended.sum(1, keepdim=True)
        reached = ended.cumsum(1) >= (1 - self.reject) * total
        quantile = lengths.index_select(0, reached.int().argmax(1))
        new = torch.where(quantile < tau, quantile, 2 * tau).clamp(max=self.max_pause).maximum(lengths[1:2])
        tau.copy_(torch.where(due & (total[:, 0] > 0), new, tau))
        ended.masked_fill_(due, 0.0)

    def unsupported(self, task: Task) -> str | None:
        """Return why there are no units to recycle."""
        return unsupported_units(task)
