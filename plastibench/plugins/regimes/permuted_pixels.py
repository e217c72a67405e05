"""Images whose pixels are permuted, in another way in every stage."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING

import torch

from plastibench.plugins.regime import Overlay, Regime, Stream, map_data
from plastibench.plugins.regimes.repeat import Repeat

if TYPE_CHECKING:
    from plastibench.data.dataset import Dataset
    from plastibench.plugins.task import Stage


@dataclass(frozen=True, kw_only=True)
class PermutedPixels(Overlay):
    """Put the pixels of all images in another order in every stage (Dohare et al. 2024, arXiv 2306.13812).

    Published on MNIST: 800 stages over all 60,000 images, one pass each in batches of one, and three hidden
    layers of 2,000; 500 stages over 10,000 in batches of 16 in arXiv 2308.11958. All channels of a pixel move
    together. Images must be in memory.
    """

    shifts_targets = True

    base: Regime = field(default=Repeat())

    def transform(self, stage: Stage, stream: Stream) -> Stage:
        """Return a stage with permuted pixels, in training, validation and test data alike."""
        stage = super().transform(stage, stream)
        draw = stream.generator("permuted_pixels", stage.index)
        order = torch.randperm(prod(stage.train.shape[1:]), generator=draw)

        def permuted(data: Dataset) -> Dataset:
            return data.with_pixels(order)

        return map_data(stage, permuted)
