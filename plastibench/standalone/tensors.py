"""The tensors of a model by their names."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn


def set_tensors(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Copy values into the tensors of a model, by their names in its state_dict."""
    with torch.no_grad():
        for name, tensor in tensors_of(model).items():
            if name in tensors:
                tensor.copy_(tensors[name])


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """Return the tensors of a model's state_dict by name, in its own memory."""
    return {name: value for name, value in model.state_dict().items() if isinstance(value, Tensor)}


def differ(one: Tensor, other: Tensor) -> bool:
    """Return whether two tensors differ in a bit."""
    bits = (tensor.detach().contiguous().flatten().view(torch.uint8) for tensor in (one, other))
    return not torch.equal(*bits)
