"""Distance of the weights from the run's initial weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import nn
from torch.nn.utils import get_total_norm

from plastibench.api import Learner, Probe, Scope, parameters_in


@dataclass(frozen=True, kw_only=True)
class DistanceFromInit(Probe):
    """L2 distance from the initial weights, which L2-init penalizes (Kumar et al. 2023, arXiv 2308.11958).

    The initial weights are those of the first stage, also for a method that draws new ones later.
    """

    scope: Scope = "all"
    """Which parameters count: see `Scope`."""

    units: ClassVar[Mapping[str, str]] = {"l2": "", "relative": "norms of the initial weights"}

    def measure(self, learner: Learner) -> Mapping[str, float]:
        """Return the distance, and the distance divided by the norm of the initial weights."""
        model, first = learner.model, learner.initial_model()
        names = dict.fromkeys([*self._names(first), *self._names(model)])
        initial = [first.get_parameter(name).detach() for name in names]
        weights = [model.get_parameter(name).detach() for name in names]
        for name, w, w0 in zip(names, weights, initial, strict=True):
            if w.shape != w0.shape:
                raise ValueError(
                    f"{name} has the shape {tuple(w.shape)}, but {tuple(w0.shape)} at the start of the run, "
                    "so it has no distance from its initial value: leave out --probe distance_from_init"
                )
        distance = float(get_total_norm([w - w0 for w, w0 in zip(weights, initial, strict=True)]))
        norm = float(get_total_norm(initial))
        return {"l2": distance, "relative": distance / norm if norm else float("nan")}

    def _names(self, model: nn.Module) -> list[str]:
        """Return the names of the weights in scope, in the order of the model."""
        weights = set(parameters_in(model, self.scope))
        return [name for name, weight in model.named_parameters() if weight in weights]
