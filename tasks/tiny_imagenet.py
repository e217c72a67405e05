"""Tiny-ImageNet: 100,000 images of 200 classes, 64x64 in color."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from plastibench.api import (
    DASH_RECIPES,
    Compose,
    DataContext,
    DatasetSplits,
    ImageTask,
    RandomHorizontalFlip,
    RandomResizedCrop,
    load_tiny_imagenet,
    setting,
)

CHANNELS = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation in the DASH code (arXiv 2410.23495): those usual for ImageNet."""


@dataclass(frozen=True, kw_only=True)
class TinyImagenet(ImageTask):
    """Tiny-ImageNet (Le & Yang 2015), in 50 chunks of 2,000 as in the DASH paper, tested on val."""

    classes: int = setting(200, within=(2, 200))
    """Fewer than 200 for a folder with a subset of the classes, to try things out."""

    shape = (3, 64, 64)
    num_classes = 200
    augmentation = Compose((RandomHorizontalFlip(), RandomResizedCrop(64)))
    # The DASH code normalizes this data set for every model.
    standard_recipe: ClassVar[Mapping[str, Any]] = {"normalize": True}
    recipe_presets = DASH_RECIPES

    def load(self, context: DataContext) -> DatasetSplits:
        """Return the data set on the context's device."""
        edition = "official" if self.classes == self.num_classes else "subset"
        splits = self.preprocess(load_tiny_imagenet(context.data, context.cache, edition), context, CHANNELS)
        return splits.require_classes(self.classes)

    def output_classes(self) -> int:
        """Return the number of classes of the folder."""
        return self.classes
