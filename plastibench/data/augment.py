"""Augmentation as whole-batch operations on the device; the draws come from a CPU generator.

The operations are those of torchvision's classes of like names, in distribution; each class says
how near it comes to torchvision's pixels for the same parameters.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from plastibench.data.sampling import centered, gather

Shape = tuple[int, int, int]
"""Channels, height, width."""


class Augmentation(ABC):
    """A random change of training images, split into drawing and applying.

    Drawing is done on the CPU for a whole epoch at once, so that every device sees the same
    random numbers; applying is done on the device, a batch at a time.
    """

    @abstractmethod
    def draw(self, num_images: int, shape: Shape, generator: torch.Generator) -> Tensor:
        """Return one row of random numbers an image, shape (n, k), float32, on the CPU."""

    @abstractmethod
    def apply(self, images: Tensor, draws: Tensor) -> Tensor:
        """Return changed images: (b, c, h, w) in [0, 1] and (b, k) give (b, c, h', w')."""

    @property
    def num_draws(self) -> int:
        """Numbers drawn an image, k."""
        return 0

    def output_shape(self, shape: Shape) -> Shape:
        """Return the shape of a changed image."""
        return shape


@dataclass(frozen=True)
class NoAugmentation(Augmentation):
    """No augmentation."""

    def draw(self, num_images: int, shape: Shape, generator: torch.Generator) -> Tensor:
        """Draw nothing."""
        return torch.empty(num_images, 0)

    def apply(self, images: Tensor, draws: Tensor) -> Tensor:
        """Return the images as they are."""
        return images


@dataclass(frozen=True)
class Compose(Augmentation):
    """Several augmentations, one after another."""

    transforms: tuple[Augmentation, ...]

    @property
    def num_draws(self) -> int:
        """Numbers drawn an image, over all transforms."""
        return sum(transform.num_draws for transform in self.transforms)

    def output_shape(self, shape: Shape) -> Shape:
        """Return the shape after the last transform."""
        for transform in self.transforms:
            shape = transform.output_shape(shape)
        return shape

    def draw(self, num_images: int, shape: Shape, generator: torch.Generator) -> Tensor:
        """Draw for each transform in turn; the columns stand side by side."""
        drawn = [torch.empty(num_images, 0)]
        for transform in self.transforms:
            drawn.append(transform.draw(num_images, shape, generator))
            shape = transform.output_shape(shape)
        return torch.cat(drawn, dim=1)

    def apply(self, images: Tensor, draws: Tensor) -> Tensor:
        """Apply each transform in turn."""
        start = 0
        for transform in self.transforms:
            images = transform.apply(images, draws[:, start : start + transform.num_draws])
            start += transform.num_draws
        return images


@dataclass(frozen=True)
class RandomHorizontalFlip(Augmentation):
    """Left and right swapped with the given probability; exactly torchvision's pixels."""

    p: float = 0.5

    @property
    def num_draws(self) -> int:
        """One number, uniform in [0, 1)."""
        return 1

    def draw(self, num_images: int, shape: Shape, generator: torch.Generator) -> Tensor:
        """Draw a number in [0, 1) an image."""
        return torch.rand(num_images, 1, generator=generator)

    def apply(self, images: Tensor, draws: Tensor) -> Tensor:
        """Flip the images whose number is below the probability."""
        flipped = (draws[:, 0] < self.p).view(-1, 1, 1, 1)
        return torch.where(flipped, images.flip(-1), images)


@dataclass(frozen=True)
class RandomCrop(Augmentation):
    """A crop of the image's own size out of it and a black frame; exactly torchvision's pixels."""

    padding: int = 4
    """Width of the frame on each side, in pixels."""

    @property
    def num_draws(self) -> int:
        """Top and left of the crop, whole numbers from 0 to twice the padding."""
        return 2

    def draw(self, num_images: int, shape: Shape, generator: torch.Generator) -> Tensor:
        """Draw where the crop begins in the framed image, in pixels."""
        return torch.randint(2 * self.padding + 1, (num_images, 2), generator=generator).to(torch.float32)

    def apply(self, images: Tensor, draws: Tensor) -> Tensor:
        """Cut the crops out."""
        height, width = images.shape[-2:]
        framed = F.pad(images, (self.padding,) * 4)
        corner = draws.to(torch.int64)
        rows = corner[:, :1] + torch.arange(height, device=images.device)
        columns = corner[:, 1:2] + torch.arange(width, device=images.device)
        return gather(framed, rows[:, :, None], columns[:, None, :])


@dataclass(frozen=True)
class RandomRotation(Augmentation):
    """A rotation about the center, nearest pixel, black outside.

    The source of a pixel is computed in float32 in another order of operations than torchvision's,
    so a pixel whose source lies half-way between two may take the other one (under one in a
    thousand of all pixels).
    """

    degrees: float = 15.0
    """The angle is uniform between minus and plus this, counter-clockwise."""

    @property
    def num_draws(self) -> int:
        """The angle, in degrees."""
        return 1

    def draw(self, num_images: int, shape: Shape, generator: torch.Generator) -> Tensor:
        """Draw an angle an image, in degrees."""
        return (torch.rand(num_images, 1, generator=generator) * 2 - 1) * self.degrees

    def apply(self, images: Tensor, draws: Tensor) -> Tensor:
        """Rotate each image by its angle."""
        height, width = images.shape[-2:]
        angle = draws[:, 0].mul(math.pi / 180).view(-1, 1, 1)
        cos, sin = angle.cos(), angle.sin()
        y = centered(height, images.device).view(1, -1, 1)
        x = centered(width, images.device).view(1, 1, -1)
        # Backwards: where the pixel at (y, x) of the rotated image comes from; y points down.
        columns = (cos * x - sin * y + (width - 1) / 2).round().to(torch.int64)
        rows = (sin * x + cos * y + (height - 1) / 2).round().to(torch.int64)
        inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        found = gather(images, rows.clamp(0, height - 1), columns.clamp(0, width - 1))
        return torch.where(inside[:, None], found, found.new_zeros(()))
