"""Fashion-MNIST: 60,000 images of 10 classes of clothes, 28x28 in gray."""

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
    load_fashion_mnist,
)


@dataclass(frozen=True, kw_only=True)
class FashionMnist(ImageTask):
    """Fashion-MNIST (Xiao, Rasul & Vollgraf 2017), in 50 chunks of 1,200."""

    shape = (1, 28, 28)
    num_classes = 10
    augmentation = Compose((RandomCrop(padding=4), RandomHorizontalFlip()))
    recipe_presets = DASH_RECIPES

    def load(self, context: DataContext) -> DatasetSplits:
        """Return the data set on the context's device, normalized with its own statistics."""
        return self.preprocess(load_fashion_mnist(context.data), context)
