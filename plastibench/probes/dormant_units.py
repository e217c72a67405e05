"""Dormant units: those whose activation is small beside the others of their layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from plastibench.api import (
    Learner,
    Probe,
    Task,
    measuring_model,
    sample_examples,
    setting,
    unit_means,
    unsupported_units,
)

THRESHOLDS = {"tau_0": 0.0, "tau_0_01": 0.01, "tau_0_025": 0.025, "tau_0_1": 0.1}
PER_LAYER = "tau_0_025"


@dataclass(frozen=True, kw_only=True)
class DormantUnits(Probe):
    """Shares of hidden units with E|h_i| / mean_j E|h_j| <= tau (Sokar et al. 2023, arXiv 2302.12902).

    h is the activation after normalization and nonlinearity, E the mean over examples, and over the positions
    of a channel; j runs over the units of the layer. `tau_0_025` is the share at tau = 0.025. Units are
    weighted alike, whatever their layer. If all of a layer are 0, all are dormant.
    """

    examples: int = setting(1000, within=(1, None))
    """Training examples of the stage, drawn at random."""

    units: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(THRESHOLDS, "share of units"),
        f"{PER_LAYER}[*]": "share of units",
    }

    def measure(self, learner: Learner) -> Mapping[str, float]:
        """Return the share at each threshold, and at 0.025 of each layer."""
        measuring_model(learner)
        data = sample_examples(learner.stage.train, self.examples, learner.generator)
        sizes = unit_means(learner, data, torch.abs)
        scores = {name: (size / size.mean()).nan_to_num(0.0) for name, size in sizes.items()}
        everywhere = torch.cat(list(scores.values()))
        return {
            **{name: _share(everywhere, tau) for name, tau in THRESHOLDS.items()},
            **{f"{PER_LAYER}[{layer}]": _share(one, THRESHOLDS[PER_LAYER]) for layer, one in scores.items()},
        }

    def unsupported(self, task: Task) -> str | None:
        """Return why the hidden units of the model are not known, or None."""
        return unsupported_units(task)


def _share(scores: torch.Tensor, tau: float) -> float:
    return float((scores <= tau).float().mean())
