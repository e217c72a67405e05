"""Cold start: train from scratch whenever data arrive. The expensive baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from plastibench.api import Learner, Method


@dataclass(kw_only=True)
class Cold(Method):
    """Draw a new model and a new optimizer (Ash & Adams 2020, arXiv 1910.08475: random initialization).

    Cost: nothing between stages, but a whole training in each; the unit of the costs in tables.
    """

    optimizer_state: Literal["clear"] = "clear"
    batch_norm: Literal["reset"] = "reset"

    def before_stage(self, learner: Learner) -> None:
        """Draw a new model: every stage has its own initial weights."""
        learner.restart()
