"""CIFAR-10: 50,000 images of 10 classes, 32x32 in color."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from plastibench.api import (
    DASH_RECIPES,
    Compose,
    DataContext,
    DatasetSplits,
    ImageTask,
    RandomCrop,
    RandomHorizontalFlip,
    load_cifar10,
)

CHANNELS = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
"""Mean and standard deviation in the DASH code (arXiv 2410.23495), as fractions of full brightness."""


@dataclass(frozen=True, kw_only=True)
class Cifar10(ImageTask):
    """CIFAR-10 (Krizhevsky 2009), in 50 chunks of 1,000 as in the DASH paper."""

    edition: Literal["official", "restored"] = "official"
    """restored is a known copy with the exact training pixels and 23 re-encoded test images."""

    shape = (3, 32, 32)
    num_classes = 10
    augmentation = Compose((RandomCrop(padding=4), RandomHorizontalFlip()))
    recipe_presets = DASH_RECIPES

    def load(self, context: DataContext) -> DatasetSplits:
        """Return the data set on the context's device."""
        return self.preprocess(load_cifar10(context.data, self.edition), context, CHANNELS)
