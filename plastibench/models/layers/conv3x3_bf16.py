"""A 3x3 convolution onto hardly more than a pixel, as products of matrices gathered from what meets a tap.

For 2x2 pixels out of 4x4 a third of a 3x3 kernel's taps lies in the padding, and oneDNN's bf16 kernel for the
weights' gradient reaches a quarter of the processor's rate there. Every sum is one matrix product: it is
accumulated in float32 and rounded once, as a convolution's is.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import product
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class _Met(NamedTuple):
    """Which taps, pixels of the input and pixels of the output meet along one axis."""

    tap: slice
    inside: slice
    outside: slice


class Gathered(torch.autograd.Function):
    """A 3x3 convolution with padding 1: x (b, inside, h, w), weight (outside, inside, 3, 3), a stride."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int) -> Tensor:  # noqa: ANN401 - torch's own type
        """For every pixel of the output: the window under the kernel with the taps on it."""
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        pixels, rows = _last(x), _last(weight)
        columns = [
            F.linear(pixels[:, h.inside, w.inside].flatten(1), rows[:, h.tap, w.tap].flatten(1))
            for h, w in _both(_by_outside, x.shape, stride)
        ]
        height, width = ((side - 1) // stride + 1 for side in x.shape[2:])
        return _first(torch.stack(columns, 1).view(len(x), height, width, -1))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:  # noqa: ANN401 - torch's own type
        """For every pixel of the input the outputs it is seen by; for every tap the pixels it meets."""
        x, weight = ctx.saved_tensors
        pixels, gradient, rows = _last(x), _last(grads[0]), _last(weight)
        turned = rows.flip(1, 2)
        for_pixels = [
            gradient[:, h.outside, w.outside].flatten(1)
            @ turned[:, h.tap, w.tap].permute(1, 2, 0, 3).flatten(0, 2)
            for h, w in _both(_by_inside, x.shape, ctx.stride)
        ]
        for_rows = [
            gradient[:, h.outside, w.outside].flatten(0, 2).t() @ pixels[:, h.inside, w.inside].flatten(0, 2)
            for h, w in _both(_by_tap, x.shape, ctx.stride)
        ]
        for_x, for_weight = torch.stack(for_pixels, 1), torch.stack(for_rows, 1)
        return _first(for_x.view(pixels.shape)), _first(for_weight.view(rows.shape)), None


def _last(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1)


def _first(x: Tensor) -> Tensor:
    return x.permute(0, 3, 1, 2)


def _both(by: Any, shape: torch.Size, stride: int) -> Iterator[tuple[_Met, _Met]]:  # noqa: ANN401
    """Yield what meets down and what meets right, place after place."""
    return product(by(shape[2], stride), by(shape[3], stride))


@cache
def _by_outside(size: int, stride: int) -> tuple[_Met, ...]:
    """For each pixel of the output: taps and the pixels under them."""
    return tuple(_met(size, stride, outside=place) for place in range((size - 1) // stride + 1))


@cache
def _by_inside(size: int, stride: int) -> tuple[_Met, ...]:
    """For each pixel of the input: the outputs that see it, and through which tap of the turned kernel."""
    return tuple(_met(size, stride, inside=place) for place in range(size))


@cache
def _by_tap(size: int, stride: int) -> tuple[_Met, ...]:
    """For each tap: the outputs of which it lies on the image, and the pixels there."""
    return tuple(_met(size, stride, tap=place) for place in range(3))


def _met(size: int, stride: int, **at: int) -> _Met:
    """Return what meets at one place of one axis: pixel = stride * output + tap - 1."""
    found = [
        {"tap": tap, "inside": stride * outside + tap - 1, "outside": outside}
        for outside in range((size - 1) // stride + 1)
        for tap in range(3)
        if 0 <= stride * outside + tap - 1 < size
    ]
    here = [meeting for meeting in found if at.items() <= meeting.items()]
    taps = [2 - meeting["tap"] if "inside" in at else meeting["tap"] for meeting in here]
    return _Met(_span(taps), _span([m["inside"] for m in here]), _span([m["outside"] for m in here]))


def _span(places: list[int]) -> slice:
    """Return the slice that takes these places, which rise in equal steps."""
    step = places[1] - places[0] if len(places) > 1 and places[1] > places[0] else 1
    return slice(places[0], places[-1] + 1, step) if places else slice(0, 0)
