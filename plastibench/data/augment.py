"""Augmentation as whole-batch operations on the device, with random numbers from a CPU generator.

The operations are those of torchvision's classes of the same names, in distribution; each class says how
close it comes to torchvision's pixels for the same parameters.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

Shape = tuple[int, int, int]
"""Channels, height, width."""


class Augmentation(ABC):
    """A random change of training images, split into drawing and applying.

    Numbers are drawn on the CPU for a whole epoch at once, so that every device gets the same ones; they are
    applied on the device, batch by batch.
    """

    @property
    @abstractmethod
    def num_draws(self) -> int:
        """Numbers drawn per image, k."""

    @abstractmethod
    def draw(self, num_images: int, shape: Shape, generator: torch.Generator) -> Tensor:
        """Return one row of random numbers per image, shape (n, k), float32, on the CPU."""

    @abstractmethod
    def apply(self, images: Tensor, draws: Tensor) -> Tensor:
        """Return changed images: (b, c, h, w) in [0, 1] and (b, k) give (b, c, h', w')."""

    def output_shape(self, shape: Shape) -> Shape:
        """Return the shape of a changed image."""
        return shape


@dataclass(frozen=True)
class Compose(Augmentation):
    """Several augmentations, one after another; none leaves images as they are."""

    transforms: tuple[Augmentation, ...] = ()

    @property
    def num_draws(self) -> int:
        """Numbers drawn per image, over all transforms."""
        return sum(transform.num_draws for transform in self.transforms)

    def output_shape(self, shape: Shape) -> Shape:
        """Return the shape after the last transform."""
        for transform in self.transforms:
            shape = transform.output_shape(shape)
        return shape

    def draw(self, num_images: int, shape: Shape, generator: torch.Generator) -> Tensor:
        """Draw for each transform in turn; its columns follow those of the one before."""
        draws = [torch.empty(num_images, 0)]
        for transform in self.transforms:
            draws.append(transform.draw(num_images, shape, generator))
            shape = transform.output_shape(shape)
        return torch.cat(draws, dim=1)

    def apply(self, images: Tensor, draws: Tensor) -> Tensor:
        """Apply each transform in turn."""
        start = 0
        for transform in self.transforms:
            images = transform.apply(images, draws[:, start : start + transform.num_draws])
            start += transform.num_draws
        return images


@dataclass(frozen=True)
class RandomHorizontalFlip(Augmentation):
    """Left and right swapped with probability `p`; exactly torchvision's pixels."""

    p: float = 0.5

    num_draws = 1

    def draw(self, num_images: int, shape: Shape, generator: torch.Generator) -> Tensor:
        """Draw a number in [0, 1) per image."""
        return torch.rand(num_images, 1, generator=generator)

    def apply(self, images: Tensor, draws: Tensor) -> Tensor:
        """Flip the images whose number is below `p`."""
        flipped = (draws[:, 0] < self.p).view(-1, 1, 1, 1)
        return torch.where(flipped, images.flip(-1), images)


@dataclass(frozen=True)
class RandomCrop(Augmentation):
    """A crop of the image's own size out of the image with a black frame; exactly torchvision's pixels."""

    padding: int = 4
    """Width of the frame on each side, in pixels."""

    num_draws = 2

    def draw(self, num_images: int, shape: Shape, generator: torch.Generator) -> Tensor:
        """Draw the top and the left of the crop in the framed image, in pixels."""
        return torch.randint(2 * self.padding + 1, (num_images, 2), generator=generator).to(torch.float32)

    def apply(self, images: Tensor, draws: Tensor) -> Tensor:
        """Cut out the crops."""
        height, width = images.shape[-2:]
        framed = F.pad(images, (self.padding,) * 4)
        corner = draws.to(torch.int64)
        rows = corner[:, :1] + torch.arange(height, device=images.device)
        columns = corner[:, 1:2] + torch.arange(width, device=images.device)
        return _gather_pixels(framed, rows[:, :, None], columns[:, None, :])


@dataclass(frozen=True)
class RandomRotation(Augmentation):
    """A rotation about the center, nearest pixel, black outside.

    The source of a pixel is computed in float32, in another order of operations than in torchvision, so a
    pixel whose source is half-way between two may take the other one (fewer than one in a thousand pixels).
    """

    degrees: float = 15.0
    """The angle is uniform between minus and plus this, counter-clockwise."""

    num_draws = 1

    def draw(self, num_images: int, shape: Shape, generator: torch.Generator) -> Tensor:
        """Draw an angle per image, in degrees."""
        return (torch.rand(num_images, 1, generator=generator) * 2 - 1) * self.degrees

    def apply(self, images: Tensor, draws: Tensor) -> Tensor:
        """Rotate each image by its angle."""
        height, width = images.shape[-2:]
        angle = draws[:, 0].mul(math.pi / 180).view(-1, 1, 1)
        cos, sin = angle.cos(), angle.sin()
        y = _centered_range(height, images.device).view(1, -1, 1)
        x = _centered_range(width, images.device).view(1, 1, -1)
        # Backwards: the source of the pixel at (y, x) of the rotated image; y points down.
        columns = (cos * x - sin * y + (width - 1) / 2).round().to(torch.int64)
        rows = (sin * x + cos * y + (height - 1) / 2).round().to(torch.int64)
        inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        rotated = _gather_pixels(images, rows.clamp(0, height - 1), columns.clamp(0, width - 1))
        return torch.where(inside[:, None], rotated, rotated.new_zeros(()))


def _centered_range(num_pixels: int, device: torch.device) -> Tensor:
    """Return the coordinates of pixels relative to their middle."""
    return torch.arange(num_pixels, device=device, dtype=torch.float32) - (num_pixels - 1) / 2


def _gather_pixels(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return the pixels of (b, c, h, w) at `rows` and `columns`, which broadcast to (b, h', w')."""
    batch, channels, _, width = images.shape
    index = rows * width + columns
    pixels = images.flatten(2).gather(2, index.flatten(1)[:, None].expand(batch, channels, -1))
    return pixels.view(batch, channels, *index.shape[1:])
