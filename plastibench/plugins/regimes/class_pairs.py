"""Two other classes to tell apart in every stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from plastibench.plugins.regime import Examples, Regime, Stream, map_data
from plastibench.seeding import generator

if TYPE_CHECKING:
    from torch import Tensor

    from plastibench.data.dataset import Dataset
    from plastibench.plugins.task import Stage


@dataclass(frozen=True, kw_only=True)
class ClassPairs(Regime):
    """Tell two classes apart, in every stage others (Dohare et al. 2024, arXiv 2306.13812).

    Published as continual ImageNet: 2,000 pairs of ImageNet's 1,000 classes at `resolution=32`, 600 images of
    each class to train on and 100 to test on, 250 epochs in batches of 100, and an output layer drawn anew
    for every pair, which here is the method `head_reset`. Classes are paired at random, and again once all
    have been used. Only the pair's data are kept.
    """

    default_stages = 10
    shifts_targets = True

    def window_size(self, chunks: Sequence[int], scale: float) -> int:
        """Return the size of the newest pair."""
        return chunks[-1]

    def arrivals(self, examples: Examples, num_chunks: int) -> Sequence[Tensor]:
        """Return the examples of each pair."""
        pairs = _pairs(examples.seed, examples.num_classes, num_chunks)
        return [torch.isin(examples.labels, pair).nonzero().flatten() for pair in pairs]

    def transform(self, stage: Stage, stream: Stream) -> Stage:
        """Return a stage with the labels 0 and 1, tested on its pair."""
        pair = _pairs(stream.seed, stream.num_classes, stage.index + 1)[-1]

        def of_pair(data: Dataset) -> Dataset:
            labels = data.labels()
            chosen = torch.isin(labels, pair).nonzero().flatten()
            kept = data if len(chosen) == len(data) else data.take(chosen)
            return kept.with_labels((labels[chosen] == pair[1]).long())

        return map_data(stage, of_pair)

    def num_outputs(self, num_classes: int) -> int:
        """Return 2."""
        return 2


def _pairs(seed: int, num_classes: int, number: int) -> list[Tensor]:
    """Return pairs of classes: disjoint ones until all classes, but for a last odd one, have been used."""
    pairs: list[Tensor] = []
    while len(pairs) < number:
        draw = generator(seed, "regime", "pairs", len(pairs))
        order = torch.randperm(num_classes, generator=draw)
        pairs += order[: num_classes // 2 * 2].view(-1, 2).unbind()
    return pairs[:number]
