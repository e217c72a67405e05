"""Dead and rarely active units: those that hardly any example makes positive."""

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


@dataclass(frozen=True, kw_only=True)
class DeadUnits(Probe):
    """Shares of hidden units with P(h > 0) = 0, and with P(h > 0) < 0.01 (Dohare 2024, arXiv 2306.13812).

    h is the activation after normalization and nonlinearity, P the share of examples; of a channel, the share
    of its positions. The two are not the same: a unit that one example in a thousand makes positive is not
    dead. Units are weighted alike, whatever their layer. It says something of units that are 0 when they are
    off, as ReLU's are.
    """

    examples: int = setting(1000, within=(1, None))
    """Training examples of the stage, drawn at random."""

    units: ClassVar[Mapping[str, str]] = {
        "dead": "share of units",
        "rarely_active": "share of units",
        "rarely_active[*]": "share of units",
    }

    def measure(self, learner: Learner) -> Mapping[str, float]:
        """Return the two shares, and the second one of each layer."""
        measuring_model(learner)
        data = sample_examples(learner.stage.train, self.examples, learner.generator)
        layers = unit_means(learner, data, lambda h: h > 0)
        active = torch.cat(list(layers.values()))
        return {
            "dead": float((active == 0).float().mean()),
            "rarely_active": float((active < 0.01).float().mean()),
            **{f"rarely_active[{name}]": float((q < 0.01).float().mean()) for name, q in layers.items()},
        }

    def unsupported(self, task: Task) -> str | None:
        """Return why the hidden units of the model are not known, or None."""
        return unsupported_units(task)
