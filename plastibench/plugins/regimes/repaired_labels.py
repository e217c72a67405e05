"""Wrong training labels that are corrected between stages."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch

from plastibench.plugins.fields import setting
from plastibench.plugins.regime import Overlay, Regime, Stream
from plastibench.plugins.regimes.label_noise import LabelNoise

if TYPE_CHECKING:
    from plastibench.plugins.task import Stage


@dataclass(frozen=True, kw_only=True)
class RepairedLabels(Overlay):
    """Correct the labels of a chunk some stages after its arrival, as people do who clean their data.

    The noise is that of the base, by default the schedule of Lee et al. 2024 (arXiv 2406.02596), where labels
    stay wrong: the difference shows what a network keeps of labels that are gone.
    """

    base: Regime = field(default=LabelNoise())
    repaired_after: int = setting(1, within=(1, None))
    """Stages that a chunk is trained on with wrong labels."""

    def transform(self, stage: Stage, stream: Stream) -> Stage:
        """Return a stage in which old chunks have the labels that they had before the base changed them."""
        changed = super().transform(stage, stream)
        window, sizes = stream.windows[stage.index], torch.tensor(stream.chunk_sizes)
        arrived = torch.arange(len(sizes)).repeat_interleave(sizes)[window.start : window.end]
        is_old = arrived <= stage.index - self.repaired_after
        labels = torch.where(is_old, stage.train.labels(), changed.train.labels())
        return replace(changed, train=changed.train.with_labels(labels))
