"""CIFAR-100: 50,000 images of 100 classes, 32x32 in color."""

from __future__ import annotations

from dataclasses import dataclass

from plastibench.api import (
    DASH_RECIPES,
    Compose,
    DataContext,
    DatasetSplits,
    ImageTask,
    RandomCrop,
    RandomHorizontalFlip,
    RandomRotation,
    load_cifar100,
)


@dataclass(frozen=True, kw_only=True)
class Cifar100(ImageTask):
    """CIFAR-100 (Krizhevsky 2009), fine labels, in 50 chunks of 1,000 as in the DASH paper."""

    shape = (3, 32, 32)
    num_classes = 100
    augmentation = Compose((RandomCrop(padding=4), RandomHorizontalFlip(), RandomRotation(degrees=15)))
    recipe_presets = DASH_RECIPES

    def load(self, context: DataContext) -> DatasetSplits:
        """Return the data set on the context's device, normalized with its own statistics."""
        return self.preprocess(load_cifar100(context.data), context)
