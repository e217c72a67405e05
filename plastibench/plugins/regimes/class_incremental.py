"""New classes in every stage, tested on the classes so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import TYPE_CHECKING

import torch

from plastibench.errors import RequestError, count
from plastibench.plugins.regime import Examples, Overlay, Regime, Stream, even_split, map_data
from plastibench.plugins.regimes.accumulate import Accumulate
from plastibench.seeding import generator

if TYPE_CHECKING:
    from torch import Tensor

    from plastibench.data.dataset import Dataset
    from plastibench.plugins.task import Stage


@dataclass(frozen=True, kw_only=True)
class ClassIncremental(Overlay):
    """Let classes arrive one after the other, old data kept (Dohare et al. 2024, arXiv 2306.13812).

    Their CIFAR-100 run has `stages=20` with five new classes each, the logits of classes to come left out,
    and 200 epochs a stage. Shin et al. 2024 (arXiv 2410.23495, C.4.5) add one of ten classes in each of ten
    stages, and show a collapse without old data, `class_incremental+discard`. The order of the classes is
    drawn with the seed, and they are numbered as they arrive. The test set grows: it has the classes so far.
    """

    shifts_targets = True

    base: Regime = field(default=Accumulate())
    mask_unseen: bool = True
    """Leave the logits of classes to come out of loss and accuracy."""

    default_stages = 5

    def __post_init__(self) -> None:
        """Raise RequestError for a base that changes labels, which are numbered anew here."""
        super().__post_init__()
        self.require_unchanged_base()

    def num_stages(self, stages: int | None) -> int:
        """Return the number of groups of classes."""
        fixed = None if self.base.takes_equal_chunks(self.default_stages) else self.base.num_stages(None)
        return self.base.num_stages(stages or fixed or self.default_stages)

    def arrivals(self, examples: Examples, num_chunks: int) -> Sequence[Tensor]:
        """Return the examples of each group of classes."""
        if num_chunks > examples.num_classes:
            classes = count(examples.num_classes, "class", "classes")
            raise RequestError(f"stages={num_chunks} is not allowed: there are only {classes} to arrive")
        bounds = torch.tensor(_numbers_seen(examples.num_classes, num_chunks))
        numbers = _numbers(examples.seed, examples.num_classes)[examples.labels]
        group = torch.bucketize(numbers, bounds, right=True)
        chunks = [(group == chunk).nonzero().flatten() for chunk in range(num_chunks)]
        if not all(map(len, chunks)):
            raise RequestError("train_size is too small: there is a stage whose classes have no example")
        return chunks

    def transform(self, stage: Stage, stream: Stream) -> Stage:
        """Return a stage with numbers of classes in order of arrival, tested on the classes so far."""
        stage, seen = super().transform(stage, stream), self.num_seen(stage.index, stream)
        numbers = _numbers(stream.seed, stream.num_classes)

        def renumbered(data: Dataset) -> Dataset:
            return data.with_labels(numbers[data.labels()])

        stage = map_data(stage, renumbered)
        test = stage.test
        if test is not None:
            test = test.take((test.labels() < seen).nonzero().flatten())
        return replace(stage, test=test, num_classes=seen if self.mask_unseen else None)

    def num_seen(self, stage: int, stream: Stream) -> int:
        """Return the number of classes that have arrived."""
        return _numbers_seen(stream.num_classes, len(stream.chunk_sizes))[stage]


def _numbers_seen(num_classes: int, num_chunks: int) -> list[int]:
    """Return how many classes have arrived at each stage."""
    return list(accumulate(even_split(num_classes, num_chunks)))


def _numbers(seed: int, num_classes: int) -> Tensor:
    """Return the place of each class in the order of arrival, shape (classes,)."""
    return torch.randperm(num_classes, generator=generator(seed, "regime", "classes"))
