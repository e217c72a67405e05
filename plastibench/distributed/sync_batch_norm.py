"""Batch normalization by the statistics of the whole batch, of which each rank has a part.

torch.nn.SyncBatchNorm does the same on CUDA only, and takes the place of layers in the model, whose classes
and copies would then depend on the number of devices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

if TYPE_CHECKING:
    from plastibench.distributed.group import RankGroup


class SynchronizedBatchNorm(TorchFunctionMode):
    """A context in which batch normalization, in training mode, normalizes by the batch of all ranks.

    The layers stay as they are: what changes is torch's function that all of them call.
    """

    def __init__(self, ranks: RankGroup) -> None:
        super().__init__()
        self.ranks = ranks

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - whatever the function returns
        """Call a function of torch, or in place of batch normalization the synchronized one."""
        if func is F.batch_norm:
            call = _Call(**dict(zip(_NAMES, args, strict=False)), **(kwargs or {}))
            if call.training:
                return _batch_norm(self.ranks, call)
        return func(*args, **(kwargs or {}))


@dataclass
class _Call:
    """The arguments of torch's function, input (b, c, ...) first."""

    input: Tensor
    running_mean: Tensor | None
    running_var: Tensor | None
    weight: Tensor | None = None
    bias: Tensor | None = None
    training: bool = False
    momentum: float = 0.1
    eps: float = 1e-5


_NAMES = tuple(field.name for field in fields(_Call))


def _batch_norm(ranks: RankGroup, call: _Call) -> Tensor:
    """Return what torch's function would return for the whole batch, and update the statistics likewise.

    Computed in float32.
    """
    x, found = call.input, _statistics(ranks, call.input, call.eps)
    if call.running_mean is not None and call.running_var is not None:
        unbiased = found.var * (found.number / (found.number - 1))
        with torch.no_grad():
            call.running_mean.lerp_(found.mean.to(call.running_mean.dtype), call.momentum)
            call.running_var.lerp_(unbiased.to(call.running_var.dtype), call.momentum)
    normalized: Tensor = _Normalize.apply(ranks, x, found)
    if call.weight is not None:
        normalized = normalized * _per_channel(call.weight.float(), x)
    if call.bias is not None:
        normalized = normalized + _per_channel(call.bias.float(), x)
    return normalized.to(x.dtype)


class _Statistics(NamedTuple):
    """Of each channel over all ranks, (c,), and the number of values of one, ()."""

    mean: Tensor
    var: Tensor
    inverse: Tensor
    """1 / sqrt(var + eps)"""
    number: Tensor


def _statistics(ranks: RankGroup, x: Tensor, eps: float) -> _Statistics:
    """Combine the means and biased variances of all ranks, without the cancellation of sums of squares."""
    with torch.no_grad():
        channels, dims = x.shape[1], [0, *range(2, x.dim())]
        own_var, own_mean = torch.var_mean(x.float(), dims, correction=0)
        own_count = own_mean.new_full((1,), x.numel() / channels)
        gathered = torch.stack(ranks.all_gather(torch.cat([own_mean, own_var, own_count])))
        means, variances, counts = gathered.split([channels, channels, 1], dim=1)
        shares = counts / counts.sum()
        mean = (means * shares).sum(0)
        var = ((variances + (means - mean).square()) * shares).sum(0)
        return _Statistics(mean, var, (var + eps).rsqrt(), counts.sum())


def _per_channel(values: Tensor, x: Tensor) -> Tensor:
    """Return values (c,) in a shape that broadcasts to x (b, c, ...)."""
    return values.view(1, -1, *[1] * (x.dim() - 2))


class _Normalize(torch.autograd.Function):
    """(x - mean) * inverse deviation, with a gradient that knows that both depend on the x of all ranks."""

    @staticmethod
    def forward(ctx: Any, ranks: RankGroup, x: Tensor, found: _Statistics) -> Tensor:  # noqa: ANN401 - torch's
        ctx.ranks = ranks
        ctx.save_for_backward(x, *found)
        return (x.float() - _per_channel(found.mean, x)) * _per_channel(found.inverse, x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401 - torch's
        (gradient,), (x, *saved) = gradients, ctx.saved_tensors
        found, dims = _Statistics(*saved), [0, *range(2, x.dim())]
        inverse = _per_channel(found.inverse, x)
        normalized = (x.float() - _per_channel(found.mean, x)) * inverse
        sums = torch.stack([gradient.sum(dims), (gradient * normalized).sum(dims)])
        ctx.ranks.sum_([sums])
        first, second = (_per_channel(part / found.number, x) for part in sums)
        return None, (inverse * (gradient - first - normalized * second)).to(x.dtype), None
