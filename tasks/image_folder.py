"""Image folder: images of your own, in a folder for each class."""

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
    list_classes,
    load_image_folder,
    setting,
)


@dataclass(frozen=True, kw_only=True)
class ImageFolder(ImageTask):
    """Images in a folder for each class, perhaps in parts: data of your own without code."""

    folder: str = setting()
    """Has a folder for each class, or `train` and perhaps `test` or `val` with these; relative to the current
    folder."""
    resolution: int = setting(32, within=(8, 512))
    """Height and width, in pixels, to which the central square of every image is resized."""
    test_share: float | None = setting(None, within=(0.01, 0.9))
    """Share of each class's images that are for the test, the same for every seed, if there is no test part;
    none is a fifth."""

    default_architecture = "small_resnet"
    augmentation = Compose((RandomCrop(padding=4), RandomHorizontalFlip()))
    recipe_presets = DASH_RECIPES

    def load(self, context: DataContext) -> DatasetSplits:
        """Return the images on the context's device, normalized with the training images' statistics."""
        images = load_image_folder(self.folder, context.cache, self.resolution, self.test_share)
        return self.preprocess(images, context)

    def input_shape(self) -> tuple[int, int, int]:
        """Return the shape of one decoded image: (channels, height, width)."""
        return 3, self.resolution, self.resolution

    def output_classes(self) -> int:
        """Return the number of folders of classes."""
        return len(list_classes(self.folder))
