"""Averages of weights: the tensors of a model that can be averaged, and a model that holds others."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from plastibench.training.model_copy import copy_model


def averaged_tensors(model: nn.Module) -> list[Tensor]:
    """Return the parameters and the floating-point buffers of a model, each one once.

    They are the model's own tensors, not copies. Counters, such as those of batch normalization, cannot be
    averaged.
    """
    buffers = (buffer for buffer in model.buffers() if buffer.is_floating_point())
    return [*(parameter.detach() for parameter in model.parameters()), *buffers]


def model_with(model: nn.Module, tensors: Sequence[Tensor]) -> nn.Module:
    """Return a copy of a model that holds the values of `tensors`, in the order of `averaged_tensors`."""
    twin = copy_model(model)
    with torch.no_grad():
        torch._foreach_copy_(averaged_tensors(twin), list(tensors))
    return twin
