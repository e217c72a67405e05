"""Data that arrive while a stage is trained."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from plastibench.plugins.fields import setting
from plastibench.plugins.regime import Overlay, Regime, Stream
from plastibench.plugins.regimes.accumulate import Accumulate

if TYPE_CHECKING:
    from plastibench.plugins.task import Stage


@dataclass(frozen=True, kw_only=True)
class WithinStage(Overlay):
    """Let a chunk arrive over the first epochs of its stage (Shin et al. 2024, arXiv 2410.23495, C.4.4).

    Published: new examples in each of 500 epochs, a remedy every 50, then 500 epochs on all data: `stages=10`
    with the default, but for the last 500 epochs. A target accuracy ends a stage only once its data have
    arrived. A remedy that reads the stage's data before training reads those that arrive later, too.
    """

    base: Regime = field(default=Accumulate())
    arrival_epochs: int = setting(50, within=(2, None))
    """Epochs over which the newest chunk arrives, as evenly as possible."""

    def transform(self, stage: Stage, stream: Stream) -> Stage:
        """Return a stage with the number of examples that each epoch has."""
        stage = super().transform(stage, stream)
        old, new = len(stage.train) - stage.num_new, stage.num_new
        arrived = [old + new * (epoch + 1) // self.arrival_epochs for epoch in range(self.arrival_epochs - 1)]
        return replace(stage, available=tuple(min(max(2, number), old + new) for number in arrived))
