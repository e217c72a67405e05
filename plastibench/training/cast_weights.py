"""Weights in the precision of a pass, copied by one operation for all layers instead of one for each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

CASTING = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
"""Layers whose forward pass does nothing with weights that autocast would not cast first."""


@contextmanager
def weights_cast_together(model: nn.Module, dtype: torch.dtype) -> Iterator[None]:
    """Give the linear layers and convolutions of a model their trained weights in `dtype`, for one pass.

    Under autocast to `dtype` the results are the same bits: weights are rounded once, before the pass, and
    their gradients are cast to float32 together, after it. A layer with a forward pass of its own keeps its
    weights, unless its class says `takes_cast_weights`. A pass that fails leaves the model as it was.
    """
    places = [
        (module._parameters, name, weight)
        for module in model.modules()
        if _takes_cast_weights(module)
        for name, weight in module._parameters.items()
        if weight is not None and weight.requires_grad and weight.dtype == torch.float32
    ]
    weights = dict.fromkeys(weight for _, _, weight in places)  # of which layers may share one
    copies = dict(zip(weights, _Cast.apply(dtype, *weights) if weights else (), strict=True))
    for parameters, name, weight in places:
        parameters[name] = copies[weight]
    try:
        yield
    finally:
        for parameters, name, weight in places:
            parameters[name] = weight


def _takes_cast_weights(module: nn.Module) -> bool:
    forward = getattr(module.forward, "__func__", None)
    return getattr(module, "takes_cast_weights", False) or any(forward is cls.forward for cls in CASTING)


class _Cast(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, dtype: torch.dtype, *weights: Tensor) -> tuple[Tensor, ...]:  # noqa: ANN401
        ctx.set_materialize_grads(False)
        return _copied(weights, dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        copies = iter(_copied([grad for grad in grads if grad is not None], torch.float32))
        return None, *(None if grad is None else next(copies) for grad in grads)


def _copied(tensors: Any, dtype: torch.dtype) -> tuple[Tensor, ...]:  # noqa: ANN401
    copies = [torch.empty_like(tensor, dtype=dtype) for tensor in tensors]
    torch._foreach_copy_(copies, list(tensors))
    return tuple(copies)
