"""SVHN: house numbers, 10 digits, 32x32 in color."""

from __future__ import annotations

from dataclasses import dataclass

from plastibench.api import (
    DASH_RECIPES,
    Compose,
    DataContext,
    DatasetSplits,
    ImageTask,
    RandomCrop,
    load_svhn,
    setting,
)


@dataclass(frozen=True, kw_only=True)
class Svhn(ImageTask):
    """SVHN (Netzer et al. 2011), cropped digits, in 50 chunks of 1,000 as in the DASH paper."""

    train_size: int | None = setting(50_000, within=(4, None))
    """The DASH code draws 50,000 of the 73,257 training images with the seed; none is all of them."""

    shape = (3, 32, 32)
    num_classes = 10
    # No flip: a mirrored digit is not the same digit.
    augmentation = Compose((RandomCrop(padding=4),))
    recipe_presets = DASH_RECIPES

    def load(self, context: DataContext) -> DatasetSplits:
        """Return the data set on the context's device, normalized with its own statistics."""
        return self.preprocess(load_svhn(context.data), context)
