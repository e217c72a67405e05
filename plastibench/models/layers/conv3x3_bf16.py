"""A 3x3 convolution onto hardly more than one pixel, as products of matrices gathered from what meets a tap.

From 4x4 to 2x2 pixels a third of a 3x3 kernel's taps lies in the padding, and oneDNN's bf16 kernel for the
weights' gradient reaches a quarter of the processor's rate there. Here every sum is one matrix product: it
is accumulated in float32 and rounded once, as a convolution's is.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import product
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

Fixed = Literal["tap", "input", "output"]


class _Overlap(NamedTuple):
    """The taps, input pixels and output pixels that meet along one axis."""

    tap: slice
    input: slice
    output: slice


class GatheredConv(torch.autograd.Function):
    """A 3x3 convolution with padding 1 of x (b, in, h, w) with weight (out, in, 3, 3) and a stride."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int) -> Tensor:  # noqa: ANN401 - torch's own type
        """For each output pixel: multiply the window under the kernel by the taps on it."""
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        pixels, kernel = to_nhwc(x), to_nhwc(weight)
        columns = [
            F.linear(pixels[:, h.input, w.input].flatten(1), kernel[:, h.tap, w.tap].flatten(1))
            for h, w in _both_axes("output", x.shape, stride)
        ]
        height, width = (_output_size(side, stride) for side in x.shape[2:])
        return to_nchw(torch.stack(columns, 1).view(len(x), height, width, -1))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:  # noqa: ANN401 - torch's own type
        """For each input pixel: gather the outputs that see it; for each tap: the pixels that it meets."""
        x, weight = ctx.saved_tensors
        pixels, grad, kernel = to_nhwc(x), to_nhwc(grads[0]), to_nhwc(weight)
        flipped = kernel.flip(1, 2)
        grad_pixels = [
            grad[:, h.output, w.output].flatten(1)
            @ flipped[:, h.tap, w.tap].permute(1, 2, 0, 3).flatten(0, 2)
            for h, w in _both_axes("input", x.shape, ctx.stride)
        ]
        grad_taps = [
            grad[:, h.output, w.output].flatten(0, 2).t() @ pixels[:, h.input, w.input].flatten(0, 2)
            for h, w in _both_axes("tap", x.shape, ctx.stride)
        ]
        grad_x, grad_weight = torch.stack(grad_pixels, 1), torch.stack(grad_taps, 1)
        return to_nchw(grad_x.view(pixels.shape)), to_nchw(grad_weight.view(kernel.shape)), None


def to_nhwc(x: Tensor) -> Tensor:
    """Return a view of x (n, c, h, w) as (n, h, w, c)."""
    return x.permute(0, 2, 3, 1)


def to_nchw(x: Tensor) -> Tensor:
    """Return a view of x (n, h, w, c) as (n, c, h, w)."""
    return x.permute(0, 3, 1, 2)


def _both_axes(fixed: Fixed, shape: torch.Size, stride: int) -> Iterator[tuple[_Overlap, _Overlap]]:
    """Yield the overlaps of rows and of columns at each position of what is fixed, row by row."""
    return product(_overlaps(fixed, shape[2], stride), _overlaps(fixed, shape[3], stride))


@cache
def _overlaps(fixed: Fixed, size: int, stride: int) -> tuple[_Overlap, ...]:
    """Return what meets at each tap, each input pixel or each output pixel of one axis.

    Taps that meet a given input pixel are those of the flipped kernel.
    """
    outputs = _output_size(size, stride)
    meetings = [
        {"tap": tap, "input": pixel, "output": output}
        for output in range(outputs)
        for tap in range(3)
        if 0 <= (pixel := stride * output + tap - 1) < size
    ]
    overlaps = []
    for position in range({"tap": 3, "input": size, "output": outputs}[fixed]):
        here = [meeting for meeting in meetings if meeting[fixed] == position]
        taps = [2 - meeting["tap"] if fixed == "input" else meeting["tap"] for meeting in here]
        pixels, positions = ([meeting[name] for meeting in here] for name in ("input", "output"))
        overlaps.append(_Overlap(_as_slice(taps), _as_slice(pixels), _as_slice(positions)))
    return tuple(overlaps)


def _output_size(size: int, stride: int) -> int:
    return (size - 1) // stride + 1


def _as_slice(indices: list[int]) -> slice:
    """Return the slice that selects these indices, which rise in equal steps or are all the same."""
    step = indices[1] - indices[0] if len(indices) > 1 and indices[1] > indices[0] else 1
    return slice(indices[0], indices[-1] + 1, step) if indices else slice(0, 0)
