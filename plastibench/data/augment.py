"""Augmentation as whole-batch operations on the device, with random numbers from a CPU generator.

The operations are those of torchvision's classes of the same names, in distribution; each class says how
close it comes to torchvision's pixels for the same parameters.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

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


@dataclass(frozen=True)
class RandomResizedCrop(Augmentation):
    """A crop of random area and aspect ratio, resized to one size; bilinear with antialiasing.

    Within 1e-5 of torchvision on floating point images in [0, 1], and within 1/255 of it on bytes,
    which torchvision rounds.
    """

    size: int | None = None
    """Side of the result, in pixels; None keeps the image's height and width."""
    scale: tuple[float, float] = (0.08, 1.0)
    """Range of the crop's area, as a fraction of the image's."""
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    """Range of the crop's width over its height, uniform in its logarithm."""

    ATTEMPTS: ClassVar[int] = 10

    num_draws = 4

    def output_shape(self, shape: Shape) -> Shape:
        """Return the shape of a square with side `size`, or that of the image."""
        return shape if self.size is None else (shape[0], self.size, self.size)

    def draw(self, num_images: int, shape: Shape, generator: torch.Generator) -> Tensor:
        """Draw top, left, height and width in pixels as torchvision does: the first of ten that fits."""
        _, height, width = shape
        numbers = torch.rand(2, num_images, self.ATTEMPTS, generator=generator, dtype=torch.float64)
        low, high = (math.log(bound) for bound in self.ratio)
        area = height * width * (self.scale[0] + (self.scale[1] - self.scale[0]) * numbers[0])
        ratio = torch.exp(low + (high - low) * numbers[1])
        h, w = torch.sqrt(area / ratio).round(), torch.sqrt(area * ratio).round()
        fits = (h > 0) & (h <= height) & (w > 0) & (w <= width)
        first = fits.to(torch.uint8).argmax(dim=1, keepdim=True)
        fallback_h, fallback_w = self._central(height, width)
        fitted = fits.any(dim=1)
        h = torch.where(fitted, h.gather(1, first)[:, 0], float(fallback_h))
        w = torch.where(fitted, w.gather(1, first)[:, 0], float(fallback_w))
        position = torch.rand(2, num_images, generator=generator, dtype=torch.float64)
        top = torch.where(fitted, (position[0] * (height - h + 1)).floor(), (height - fallback_h) // 2)
        left = torch.where(fitted, (position[1] * (width - w + 1)).floor(), (width - fallback_w) // 2)
        return torch.stack([top, left, h, w], dim=1).to(torch.float32)

    def _central(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width of the largest crop within the range of ratios, used if none fits."""
        if width / height < min(self.ratio):
            return round(width / min(self.ratio)), width
        if width / height > max(self.ratio):
            return height, round(height * max(self.ratio))
        return height, width

    def apply(self, images: Tensor, draws: Tensor) -> Tensor:
        """Crop and resize with two matrix products, one per axis, without a loop."""
        shape = images.shape[1], images.shape[2], images.shape[3]
        _, height, width = self.output_shape(shape)
        rows = _resize_weights(draws[:, 0], draws[:, 2], shape[1], height).to(images.dtype)
        columns = _resize_weights(draws[:, 1], draws[:, 3], shape[2], width).to(images.dtype)
        return rows[:, None] @ images @ columns[:, None].transpose(-1, -2)


def _centered_range(num_pixels: int, device: torch.device) -> Tensor:
    """Return the coordinates of pixels relative to their middle."""
    return torch.arange(num_pixels, device=device, dtype=torch.float32) - (num_pixels - 1) / 2


def _gather_pixels(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return the pixels of (b, c, h, w) at `rows` and `columns`, which broadcast to (b, h', w')."""
    batch, channels, _, width = images.shape
    index = rows * width + columns
    pixels = images.flatten(2).gather(2, index.flatten(1)[:, None].expand(batch, channels, -1))
    return pixels.view(batch, channels, *index.shape[1:])


def _resize_weights(start: Tensor, length: Tensor, num_pixels: int, size: int) -> Tensor:
    """Return the weight of each source pixel in each resized one along an axis, shape (b, size, n).

    A triangle around the center of the resized pixel, two source pixels wide, or wider by the factor of a
    reduction; cut off at the edges of the crop and normalized to a sum of one.
    """
    step = (length / size).view(-1, 1, 1)
    begin, end = start.view(-1, 1, 1), (start + length).view(-1, 1, 1)
    center = begin + step * (torch.arange(size, device=start.device).view(1, -1, 1) + 0.5)
    pixel = torch.arange(num_pixels, device=start.device).view(1, 1, -1)
    weights = (1 - (pixel + 0.5 - center).abs() / step.clamp(min=1)).clamp(min=0)
    weights = weights * ((pixel >= begin) & (pixel < end))
    return weights / weights.sum(dim=-1, keepdim=True)
