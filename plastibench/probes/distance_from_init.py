"""Distance of the weights from the run's initial weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch.nn.utils import get_total_norm

from plastibench.api import Learner, Probe, Scope, parameters_in


@dataclass(frozen=True, kw_only=True)
class DistanceFromInit(Probe):
    """L2 distance from the initial weights, which L2-init penalizes (Kumar et al. 2023, arXiv 2308.11958).

    The initial weights are those of the first stage, also for a method that draws new ones later.
    """

    scope: Scope = "all"

    units: ClassVar[Mapping[str, str]] = {"l2": "", "relative": "norms of the initial weights"}

    def measure(self, learner: Learner) -> Mapping[str, float]:
        """Return the distance, and the distance divided by the norm of the initial weights."""
        initial = [w.detach() for w in parameters_in(learner.initial_model(), self.scope)]
        weights = [w.detach() for w in parameters_in(learner.model, self.scope)]
        distance = float(get_total_norm([w - w0 for w, w0 in zip(weights, initial, strict=True)]))
        norm = float(get_total_norm(initial))
        return {"l2": distance, "relative": distance / norm if norm else float("nan")}
