"""Random crops of a batch of images, resized to one size."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from plastibench.data.augment import Augmentation, Shape


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
