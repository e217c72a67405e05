"""ImageNet: 1,281,167 images of 1,000 classes, streamed at 224x224, or smaller and in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from plastibench.api import (
    Compose,
    DataContext,
    DatasetSplits,
    ImageTask,
    RandomHorizontalFlip,
    RandomResizedCrop,
    Regime,
    TwoPhase,
    load_imagenet_packed,
    open_imagenet,
    setting,
)

CHANNELS = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation usual for ImageNet, as fractions of full brightness."""

STREAMED = 224


@dataclass(frozen=True, kw_only=True)
class Imagenet(ImageTask):
    """ImageNet (ILSVRC 2012), first half and then all, as in the DASH paper; tested on validation images."""

    regime: Regime = field(default=TwoPhase())
    resolution: int = setting(STREAMED, within=(16, STREAMED))
    """Height and width. At 224 files are decoded every epoch; below, once, and kept on the device."""
    broken_images: Literal["refuse", "skip"] = "refuse"
    """Whether files that cannot be decoded end a run before it begins, or are left out; skip decodes every
    file once to find them."""
    classes: int = setting(1000, within=(2, 1000))
    """Fewer than 1,000 for a folder with a subset of the classes, to try things out."""

    shape = (3, STREAMED, STREAMED)
    num_classes = 1000
    augmentation = Compose((RandomResizedCrop(), RandomHorizontalFlip()))

    def load(self, context: DataContext) -> DatasetSplits:
        """Return the data set, streamed to the context's device or kept there."""
        edition = "official" if self.classes == self.num_classes else "subset"
        if self.resolution == STREAMED:
            splits = open_imagenet(
                context.data,
                STREAMED,
                context.device.torch_device,
                edition,
                normalize=self.recipe.normalize,
                cache=context.cache,
                broken_images=self.broken_images,
            )
        else:
            packed = load_imagenet_packed(
                context.data, context.cache, self.resolution, edition, broken_images=self.broken_images
            )
            splits = self.preprocess(packed, context, CHANNELS)
        return splits.require_classes(self.classes)

    def input_shape(self) -> tuple[int, int, int]:
        """Return the shape of one prepared image: (channels, height, width)."""
        return 3, self.resolution, self.resolution

    def output_classes(self) -> int:
        """Return the number of classes of the folder."""
        return self.classes
