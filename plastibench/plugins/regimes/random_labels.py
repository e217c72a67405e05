"""Random training labels, drawn anew in every stage."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch

from plastibench.plugins.regime import Overlay, Regime, Stream
from plastibench.plugins.regimes.repeat import Repeat

if TYPE_CHECKING:
    from plastibench.plugins.task import Stage


@dataclass(frozen=True, kw_only=True)
class RandomLabels(Overlay):
    """Memorize labels drawn at random (Kumar et al. 2023, arXiv 2308.11958).

    Published: 50 stages of 400 epochs over the same 1,200 images in batches of 16, that is `stages=50
    train_size=1200 batch_size=16`. Random labels cannot be generalized: "test" and validation are the
    training examples, without augmentation, so that accuracies say how much was memorized.
    """

    shifts_targets = True

    base: Regime = field(default=Repeat())

    def __post_init__(self) -> None:
        """Raise RequestError for a base that changes labels, which are lost here."""
        super().__post_init__()
        self.require_unchanged_base()

    def transform(self, stage: Stage, stream: Stream) -> Stage:
        """Return a stage with random labels, tested on the same examples."""
        draw = stream.generator("random_labels", stage.index)
        labels = torch.randint(self.num_seen(stage.index, stream), (len(stage.train),), generator=draw)
        train = stage.train.with_labels(labels)
        return replace(
            stage,
            train=train,
            validation=None if stage.validation is None else train,
            test=None if stage.test is None else train,
        )
