"""A model made of a state_dict alone: layers with weights that compute nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
EMBEDDING = re.compile(r"embed|\bw[tp]e\b")
CONVOLUTIONS = {3: nn.Conv1d, 4: nn.Conv2d, 5: nn.Conv3d}


class BareModel(nn.Module):
    """The layers that a state_dict seems to be of.

    Modules with running statistics, or with a flat weight alone, are normalization; a weight of two
    dimensions is that of a linear layer, or of an embedding by its name; of three and more that of a
    convolution. All floating-point tensors but running statistics are trained parameters, in the memory of
    the state_dict.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        own: dict[str, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            if isinstance(tensor, Tensor):
                prefix, _, last = name.rpartition(".")
                own.setdefault(prefix, {})[last] = tensor
        parameters: dict[Any, nn.Parameter] = {}
        for prefix, group in own.items():
            module = _made(prefix, group) if prefix else self
            for name, tensor in group.items():
                _register(module, name, tensor, parameters)
            if prefix:
                _place(self, prefix, module)


class _Recurrent(nn.RNNBase):
    """Recurrent layers that can be copied without what computes."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        nn.Module.__setstate__(self, state)


def _made(name: str, tensors: Mapping[str, Tensor]) -> nn.Module:
    """Return a module of the class that its tensors seem to be of, still without them."""
    cls = _class(name, tensors)
    module: Any = cls.__new__(cls)
    nn.Module.__init__(module)
    if "running_mean" in tensors:
        module.affine, module.track_running_stats, module.momentum = "weight" in tensors, True, 0.1
        if "num_batches_tracked" not in tensors:  # which old files do not have
            module.register_buffer("num_batches_tracked", torch.tensor(0), persistent=False)
    elif cls is not nn.Module and "bias" not in tensors:
        module.register_parameter("bias", None)
    return module  # type: ignore[no-any-return]


def _class(name: str, tensors: Mapping[str, Tensor]) -> type[nn.Module]:
    weight, recurrent = tensors.get("weight"), [key for key in tensors if key.startswith("weight_ih")]
    if recurrent:
        return nn.RNNCellBase if "weight_ih" in recurrent else _Recurrent
    if "in_proj_weight" in tensors:
        return nn.MultiheadAttention
    if weight is None or "running_mean" in tensors:
        return nn.BatchNorm2d if "running_mean" in tensors else nn.Module
    if weight.dim() == 2:
        return nn.Embedding if EMBEDDING.search(name.lower()) and "bias" not in tensors else nn.Linear
    return CONVOLUTIONS.get(weight.dim(), nn.LayerNorm)


def _register(module: nn.Module, name: str, tensor: Tensor, parameters: dict[Any, nn.Parameter]) -> None:
    """Give a module a tensor of the file, which two names may share."""
    if name in STATISTICS or not tensor.is_floating_point():
        module._buffers[name] = tensor  # not by `register_buffer`: a name may be that of a method
        return
    key = tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype
    module._parameters[name] = parameters.setdefault(key, nn.Parameter(tensor.detach()))


def _place(root: nn.Module, name: str, module: nn.Module) -> None:
    """Put a module where its name says; what stands there so far hands over its children."""
    *parents, last = name.split(".")
    for parent in parents:
        if parent not in root._modules:
            root._modules[parent] = nn.Module()
        root = root._modules[parent] or root
    before = root._modules.get(last)
    for child, value in () if before is None else before.named_children():
        module._modules[child] = value
    root._modules[last] = module
