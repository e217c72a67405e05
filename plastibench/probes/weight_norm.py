"""Norm of the weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch.nn.utils import get_total_norm

from plastibench.api import Learner, Probe, Scope, parameters_in


@dataclass(frozen=True, kw_only=True)
class WeightNorm(Probe):
    """L2 norm of all parameters as one vector (Lyle et al. 2024, arXiv 2402.18762)."""

    scope: Scope = "all"
    """Which parameters count: see `Scope`."""

    units: ClassVar[Mapping[str, str]] = {"l2": ""}

    def measure(self, learner: Learner) -> Mapping[str, float]:
        """Return the norm."""
        return {"l2": float(get_total_norm([w.detach() for w in parameters_in(learner.model, self.scope)]))}
