"""Classes whose numbers are permuted in every stage."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from plastibench.plugins.regime import Overlay, Regime, Stream, map_data
from plastibench.plugins.regimes.discard import Discard

if TYPE_CHECKING:
    from plastibench.data.dataset import Dataset
    from plastibench.plugins.task import Stage


@dataclass(frozen=True, kw_only=True)
class PermutedLabels(Overlay):
    """Give the classes other numbers in every stage (Elsayed & Mahmood 2024, arXiv 2404.00781).

    Published: a new permutation every 2,500 examples, each seen once in batches of one; CIFAR-10 in
    `stages=20` has such chunks. `permuted_labels+repeat` keeps all images.
    """

    shifts_targets = True

    base: Regime = field(default=Discard())

    def transform(self, stage: Stage, stream: Stream) -> Stage:
        """Return a stage with permuted classes, in training, validation and test data alike."""
        stage, seen = super().transform(stage, stream), self.num_seen(stage.index, stream)
        numbers = torch.randperm(seen, generator=stream.generator("permuted_labels", stage.index))

        def permuted(data: Dataset) -> Dataset:
            return data.with_labels(numbers[data.labels()])

        return map_data(stage, permuted)
