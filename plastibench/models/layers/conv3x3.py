"""A 3x3 convolution that does not multiply by its own padding where an image is hardly larger than a pixel.

Deep in a network for 32x32 images a 3x3 kernel slides over 2x2 pixels: five of its nine taps lie in
the padding at every place, and libraries multiply them by zero all the same, forward and backward.
In float32 the order of sums is that of the protocol's version 2; in bf16 on a processor see `gathered`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plastibench.models.layers.conv3x3_bf16 import Gathered

LARGEST = 2
"""Side of the largest images of which every pixel lies under the kernel wherever it stands."""
WIDE = 128
"""Channels from which on a convolution gains by being taken apart."""


class Conv3x3(nn.Conv2d):
    """A 3x3 convolution that keeps height and width at stride 1: the same sums, without the padding."""

    gathers = False
    """Whether wide layers compute small images in bf16 as `Gathered` does: for a device to say."""

    def __init__(self, inside: int, outside: int, stride: int = 1, *, bias: bool = False) -> None:
        super().__init__(inside, outside, kernel_size=3, stride=stride, padding=1, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        """Map (b, inside, h, w) to (b, outside, h / stride, w / stride)."""
        half = _autocast(input.device.type) or self.weight.dtype
        if self.gathers and half == torch.bfloat16 and self._is_small_and_wide(input):
            y: Tensor = Gathered.apply(input.to(half), self.weight.to(half), self.stride[0])
        elif self.stride == (1, 1) and max(input.shape[2:]) <= LARGEST:
            y = _Small.apply(input.to(half), self.weight.to(half))
        else:
            return super().forward(input)
        return y if self.bias is None else y + self.bias.to(half)[:, None, None]

    def _is_small_and_wide(self, input: Tensor) -> bool:
        small = max(input.shape[2:]) <= LARGEST * self.stride[0]
        return small and min(self.in_channels, self.out_channels) >= WIDE


def _autocast(kind: str) -> torch.dtype | None:
    """Return what autocast computes convolutions in; it does not see into a function of our own."""
    on = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    return torch.get_autocast_dtype(kind) if on else None


class _Small(torch.autograd.Function):
    """For every pixel of the output one matrix product of all pixels with the taps that lie on them."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:  # noqa: ANN401 - torch's own type
        ctx.save_for_backward(x, weight)
        pixels = _pixels(x)
        columns = [F.linear(pixels, taps.flatten(1)) for taps in _taps(_rows(weight), x.shape)]
        return torch.stack(columns, 1).view(len(x), *x.shape[2:], -1).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ANN401 - torch's own type
        x, weight = ctx.saved_tensors
        shape, columns = x.shape, _pixels(grads[0]).view(len(x), -1, len(weight)).unbind(1)
        pixels, rows = _pixels(x), _rows(weight)
        for_pixels = sum(g @ taps.flatten(1) for g, taps in zip(columns, _taps(rows, shape), strict=True))
        assert isinstance(for_pixels, Tensor), "an image has a pixel"
        for_rows = torch.zeros_like(rows)
        for g, gradient in zip(columns, _taps(for_rows, shape), strict=True):
            gradient.add_((g.t() @ pixels).view(gradient.shape))
        return for_pixels.view(len(x), *shape[2:], -1).permute(0, 3, 1, 2), for_rows.permute(0, 3, 1, 2)


def _pixels(x: Tensor) -> Tensor:
    """Return (b, h * w * c), the channels of a pixel side by side: no copy where they are kept so."""
    return x.permute(0, 2, 3, 1).flatten(1)


def _rows(weight: Tensor) -> Tensor:
    return weight.permute(0, 2, 3, 1)


def _taps(rows: Tensor, shape: torch.Size) -> Iterator[Tensor]:
    """Yield for each pixel of the output the taps that lie on the image when the kernel stands there.

    Views of `rows`, (outside, h, w, inside).
    """
    height, width = shape[2:]
    for down in range(height):
        for right in range(width):
            yield rows[:, 1 - down : 1 - down + height, 1 - right : 1 - right + width]
