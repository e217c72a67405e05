"""Training labels that are partly wrong, at a rate of its own for each chunk."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import TYPE_CHECKING

import torch

from plastibench.errors import RequestError, count
from plastibench.plugins.fields import setting
from plastibench.plugins.regime import Overlay, Regime, Stream
from plastibench.plugins.regimes.accumulate import Accumulate

if TYPE_CHECKING:
    from torch import Tensor

    from plastibench.plugins.task import Stage

SCHEDULE = (0.5, 0.4, 0.4, 0.3, 0.3, 0.2, 0.2, 0.1, 0.1, 0.0)


@dataclass(frozen=True, kw_only=True)
class LabelNoise(Overlay):
    """Give a share of each chunk's examples a wrong label for good (Lee et al. 2024, arXiv 2406.02596).

    The default is the paper's schedule for ten stages of a tenth of the data. Its noisy warm start, a tenth
    of the data with half of the labels wrong and then the rest, is `label_noise+increments` with
    `noise=0.5,0 increments=9`. A wrong label is drawn uniformly from the other classes that the chunk's stage
    knows; validation and test labels stay right.
    """

    base: Regime = field(default=Accumulate())
    noise: tuple[float, ...] = setting(SCHEDULE, within=(0.0, 1.0))
    """Share of wrong labels in each chunk, or one share for all chunks."""

    def num_stages(self, stages: int | None) -> int:
        """Return the number of shares, or what the base returns. Raises RequestError if they differ."""
        given = len(self.noise) if len(self.noise) > 1 else None
        number = self.base.num_stages(stages or given)
        if not self.noise or given not in (None, number):
            raise RequestError(
                f"noise has {count(len(self.noise), 'share')} for {count(number, 'stage')}: give one for all "
                "stages, or one for each"
            )
        return number

    def transform(self, stage: Stage, stream: Stream) -> Stage:
        """Return a stage with wrong labels, the same ones as long as an example is trained on."""
        stage = super().transform(stage, stream)
        window = stream.windows[stage.index]
        known = self._known(stream)[window.start : window.end]
        shifts = self._shifts(stream)[window.start : window.end]
        labels = (stage.train.labels() + shifts) % known
        return replace(stage, train=stage.train.with_labels(labels))

    def _known(self, stream: Stream) -> Tensor:
        """Return for each example how many classes the stage of its arrival knows, shape (n,)."""
        known = [self.num_seen(stage, stream) for stage in range(len(stream.chunk_sizes))]
        return torch.tensor(known).repeat_interleave(torch.tensor(stream.chunk_sizes))

    def _shifts(self, stream: Stream) -> Tensor:
        """Return what is added to each label, shape (n,): 0 leaves it right."""
        rates = self.noise if len(self.noise) > 1 else self.noise * len(stream.chunk_sizes)
        draw, num_examples = stream.generator("label_noise"), sum(stream.chunk_sizes)
        others = (self._known(stream) - 1).clamp(min=0)
        which = torch.rand(num_examples, generator=draw, dtype=torch.float64)
        order = torch.rand(num_examples, generator=draw, dtype=torch.float64)
        shifts = 1 + (which * others).long()
        for end, size, rate in zip(accumulate(stream.chunk_sizes), stream.chunk_sizes, rates, strict=True):
            chunk = slice(end - size, end)
            right = order[chunk].argsort()[round(rate * size) :]
            shifts[chunk][right] = 0
        return shifts
