"""Picking and mixing source pixels for a whole batch at once, each image by its own numbers."""

from __future__ import annotations

import torch
from torch import Tensor


def resize_weights(start: Tensor, length: Tensor, num_pixels: int, size: int) -> Tensor:
    """Return what each source pixel adds to each resized one along an axis, shape (b, size, n).

    A triangle about the center of the resized pixel, two source pixels wide, or wider by the factor
    of a reduction; cut at the edges of the crop and normalized to a sum of one.
    """
    step = (length / size).view(-1, 1, 1)
    begin, end = start.view(-1, 1, 1), (start + length).view(-1, 1, 1)
    center = begin + step * (torch.arange(size, device=start.device).view(1, -1, 1) + 0.5)
    pixel = torch.arange(num_pixels, device=start.device).view(1, 1, -1)
    weights = (1 - (pixel + 0.5 - center).abs() / step.clamp(min=1)).clamp(min=0)
    weights = weights * ((pixel >= begin) & (pixel < end))
    return weights / weights.sum(dim=-1, keepdim=True)


def centered(num_pixels: int, device: torch.device) -> Tensor:
    """Return the coordinates of pixels about their middle, in pixels."""
    return torch.arange(num_pixels, device=device, dtype=torch.float32) - (num_pixels - 1) / 2


def gather(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return the pixels at `rows` and `columns`, which broadcast to (b, h', w'), of (b, c, h, w)."""
    batch, channels, _, width = images.shape
    where = rows * width + columns
    picked = images.flatten(2).gather(2, where.flatten(1)[:, None].expand(batch, channels, -1))
    return picked.view(batch, channels, *where.shape[1:])
