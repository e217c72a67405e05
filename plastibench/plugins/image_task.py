"""A task that classifies images, which arrive in chunks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from plastibench.data.augment import Augmentation, Compose
from plastibench.data.images import (
    DatasetSplits,
    LabeledImages,
    Normalization,
    channel_statistics,
    in_memory_splits,
)
from plastibench.plugins.classification_task import ClassificationTask
from plastibench.plugins.task import DataContext


@dataclass(frozen=True, kw_only=True)
class ImageTask(ClassificationTask):
    """Images in chunks. A subclass defines their shape, the number of classes, and `load`."""

    augmentation: ClassVar[Augmentation] = Compose()
    """How training images change if the recipe has augment=true."""

    def preprocess(
        self,
        images: tuple[LabeledImages, LabeledImages],
        context: DataContext,
        channels: Normalization | None = None,
    ) -> DatasetSplits:
        """Return decoded (train, test) `images` on the context's device, normalized if the recipe says so.

        `channels` holds the means and the standard deviations of the channels in [0, 1]; if None, they are
        those of the training images.
        """
        train, test = images
        normalization = (channels or channel_statistics(train)) if self.recipe.normalize else None
        return in_memory_splits(
            type(self).__name__,
            train,
            test,
            context.device.torch_device,
            normalization=normalization,
            augmentation=self.augmentation,
        )
