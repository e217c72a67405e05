"""CIFAR-100: 50,000 images of 100 classes, 32x32 in colour."""

from __future__ import annotations

from dataclasses import dataclass

from plastibench.api import Chain, Crop, Flip, ImageSet, ImageTask, Rotation, Site, load_cifar100


@dataclass(frozen=True, kw_only=True)
class Cifar100(ImageTask):
    """CIFAR-100 (Krizhevsky 2009), fine labels, in 50 chunks of 1,000 as in the DASH paper."""

    shape = (3, 32, 32)
    num_classes = 100
    augmentation = Chain((Crop(padding=4), Flip(), Rotation(degrees=15)))

    def load(self, site: Site) -> ImageSet:
        """Return the data set on the site's device, normalised as its training images are spread."""
        return self.prepared(load_cifar100(site.data), site)
