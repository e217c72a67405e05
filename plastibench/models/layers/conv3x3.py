"""A 3x3 convolution that does not multiply by its own padding on images of hardly more than one pixel.

Deep in a network for 32x32 images a 3x3 kernel slides over 2x2 pixels: five of its nine taps lie in the
padding at every position, and libraries multiply them by zero all the same, forward and backward.
In float32 the order of sums is that of the protocol's version 2; for bf16 on a processor see `GatheredConv`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plastibench.devices.device import Device, SmallConvolution
from plastibench.models.layers.conv3x3_bf16 import GatheredConv, to_nchw, to_nhwc

MAX_SIDE = 2
"""Side of the largest images of which every pixel lies under the kernel at every position."""
MIN_CHANNELS = 128
"""Channels from which on gathering pays off."""


class Conv3x3(nn.Conv2d):
    """A 3x3 convolution with padding 1: torch's sums, on small images without the padding."""

    algorithm: SmallConvolution = "matmul"
    """How small images are computed."""
    takes_cast_weights = True
    """All that is done with the weights is done in the precision of the pass."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, *, bias: bool = False) -> None:
        super().__init__(in_channels, out_channels, kernel_size=3, stride=stride, padding=1, bias=bias)

    def prepare_for(self, device: Device) -> None:
        """Compute small images as is fastest on the device."""
        self.algorithm = device.small_convolution

    def forward(self, input: Tensor) -> Tensor:
        """Map (b, in_channels, h, w) to (b, out_channels, h / stride, w / stride)."""
        if self.algorithm == "library":  # first: what follows would break a compiled graph in two
            return super().forward(input)
        dtype = _autocast_dtype(input.device.type) or self.weight.dtype
        if self._is_gathered(input, dtype):
            y: Tensor = GatheredConv.apply(input.to(dtype), self.weight.to(dtype), self.stride[0])
        elif self._is_unpadded(input):
            y = _UnpaddedConv.apply(input.to(dtype), self.weight.to(dtype))
        else:
            return super().forward(input)
        return y if self.bias is None else y + self.bias.to(dtype)[:, None, None]

    def _is_gathered(self, input: Tensor, dtype: torch.dtype) -> bool:
        wide = min(self.in_channels, self.out_channels) >= MIN_CHANNELS
        small = max(input.shape[2:]) <= MAX_SIDE * self.stride[0]
        return self.algorithm == "matmul_bf16" and dtype == torch.bfloat16 and small and wide

    def _is_unpadded(self, input: Tensor) -> bool:
        return self.stride == (1, 1) and max(input.shape[2:]) <= MAX_SIDE


def _autocast_dtype(device_type: str) -> torch.dtype | None:
    """Return autocast's dtype, or None if it is off; it does not reach into functions of our own."""
    on = torch.amp.is_autocast_available(device_type) and torch.is_autocast_enabled(device_type)
    return torch.get_autocast_dtype(device_type) if on else None


class _UnpaddedConv(torch.autograd.Function):
    """One matrix product per output pixel: all input pixels times the taps that lie on them."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:  # noqa: ANN401 - torch's own type
        ctx.save_for_backward(x, weight)
        pixels = to_nhwc(x).flatten(1)
        columns = [F.linear(pixels, taps.flatten(1)) for taps in _taps(to_nhwc(weight), x.shape)]
        return to_nchw(torch.stack(columns, 1).view(len(x), *x.shape[2:], -1))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ANN401 - torch's own type
        x, weight = ctx.saved_tensors
        pixels, kernel = to_nhwc(x).flatten(1), to_nhwc(weight)
        columns = to_nhwc(grads[0]).flatten(1).view(len(x), -1, len(weight)).unbind(1)
        taps = _taps(kernel, x.shape)
        grad_pixels = sum(g @ met.flatten(1) for g, met in zip(columns, taps, strict=True))
        assert isinstance(grad_pixels, Tensor), "an image has at least one pixel"
        grad_kernel = torch.zeros_like(kernel)
        for g, grad_taps in zip(columns, _taps(grad_kernel, x.shape), strict=True):
            grad_taps.add_((g.t() @ pixels).view(grad_taps.shape))
        return to_nchw(grad_pixels.view(len(x), *x.shape[2:], -1)), to_nchw(grad_kernel)


def _taps(kernel: Tensor, shape: torch.Size) -> Iterator[Tensor]:
    """Yield for each output pixel the taps on the image, as views of the kernel (out, h, w, in)."""
    height, width = shape[2:]
    for row in range(height):
        for column in range(width):
            yield kernel[:, 1 - row : 1 - row + height, 1 - column : 1 - column + width]
