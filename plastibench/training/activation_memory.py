"""The memory that a pass keeps for its gradient, and the batches in which it stays below a limit."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plastibench.training.flops import LARGE, SMALL, architecture_key, meta_copy

_bytes_per_image: dict[Any, float | None] = {}


def micro_batch_size(model: nn.Module, x: Tensor, limit: int) -> int:
    """Return the size of the parts in which a batch x (b, ...) passes the model within `limit` bytes.

    The parts are equal but for rounding up. The batch is one part if it fits, if its examples depend on
    each other, as they may in a module in training mode, or if the model cannot be traced.
    """
    each = None
    if not any(module.training for module in model.modules()):
        each = bytes_per_image(model, tuple(x.shape[1:]))
    parts = 1 if not each else math.ceil(len(x) / max(1, int(limit / each)))
    return math.ceil(len(x) / parts)


def bytes_per_image(model: nn.Module, shape: tuple[int, ...]) -> float | None:
    """Return the bytes that the forward pass of an image of `shape` keeps for the backward pass, in fp32.

    Returns None if the model cannot be traced. It is, once per architecture, on torch's meta device, where
    nothing is computed and nothing drawn.
    """
    key = architecture_key(model), shape
    if key not in _bytes_per_image:
        # A plug-in's model may do anything; failing to trace it must not end the run.
        try:
            small, large = (_kept_bytes(meta_copy(model), (size, *shape)) for size in (SMALL, LARGE))
            _bytes_per_image[key] = (large - small) / (LARGE - SMALL)
        except Exception:
            _bytes_per_image[key] = None
    return _bytes_per_image[key]


def _kept_bytes(model: nn.Module, shape: tuple[int, ...]) -> int:
    """Return the bytes of the tensors that autograd saves, each storage once."""
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    x = torch.empty(shape, device="meta")
    y = torch.empty(shape[0], device="meta", dtype=torch.long)
    with (
        torch.random.fork_rng(devices=[]),
        torch.enable_grad(),
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
    ):
        F.cross_entropy(model(x), y)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
