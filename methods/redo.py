"""ReDo: recycle units that are dormant: hardly active compared with their layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from plastibench.api import Learner, Method, Task, recycle_units, tune, unsupported_units


@dataclass(kw_only=True)
class Redo(Method):
    """Recycle if mean |h_i| / mean_j mean |h_j| <= threshold (Sokar et al. 2023, arXiv 2302.12902, eq. 1).

    |h| is averaged over the batch of the step, and over the positions of a channel, after normalization and
    nonlinearity. Incoming weights are drawn again, outgoing ones become 0; the bias of the next layer stays.
    Two public ports never set the outgoing weights to 0: they write to a copy. Units in networks with batch
    normalization are rarely dormant: with a low threshold, or in fewer steps than the period, the run equals
    a warm start.

    Cost: one batch's mean activations and one draw of new weights in a step out of `period`.
    """

    threshold: float = tune(0.1, 1e-3, 0.5, log=True, within=(-1.0, None))
    """Tau; 0 recycles silent units alone, which changes no output of the batch, less than 0 none."""
    period: int = tune(1000, 50, 5000, log=True, within=(1, None))
    """Steps between two checks."""

    disabled: ClassVar[Mapping[str, Any]] = {"threshold": -1.0}
    active: ClassVar[Mapping[str, Any]] = {"threshold": 0.9, "period": 2}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "sokar_2023": {},
        "dohare_2024": {"threshold": 0.01},
    }

    def start(self, learner: Learner) -> None:
        """Watch the first step if it is checked."""
        learner.log("units_recycled", 0, "sum")
        learner.watch_activations(self.period == 1)

    def before_stage(self, learner: Learner) -> None:
        """Report a stage without a check, too."""
        learner.log("units_recycled", 0, "sum")

    def after_step(self, learner: Learner) -> None:
        """Recycle dormant units if this step was watched; watch the next one if it is to be checked."""
        if learner.activations is not None:
            activity = [h.abs().float().mean((0, 2)) for h in learner.activations]
            masks = [layer / (layer.mean() + 1e-9) <= self.threshold for layer in activity]
            recycled = sum(int(mask.sum()) for mask in masks)
            if recycled:
                fresh = [units.weight for units in learner.hidden_units(learner.fresh_model())]
                recycle_units(learner, learner.hidden_units(), masks, fresh)
            learner.log("units_recycled", recycled, "sum")
        learner.watch_activations((learner.step + 1) % self.period == 0)

    def unsupported(self, task: Task) -> str | None:
        """Return why there are no units to recycle."""
        return unsupported_units(task)
