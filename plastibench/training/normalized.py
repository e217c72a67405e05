"""The parameters whose scale does not matter, because a normalization follows their layer."""

from typing import Any

from torch import Tensor, nn
from torch.nn import Parameter

from plastibench.plugins.layers import LAYERS, NORMS, check_plain
from plastibench.training.flops import architecture_key
from plastibench.training.head import pass_zeros

_found: dict[Any, list[str]] = {}


def normalized_parameters(model: nn.Module, shape: tuple[int, ...]) -> list[Parameter]:
    """Return the trained parameters of layers whose output goes into a normalization, each one once.

    Multiplied by one factor, the weight and bias of such a layer leave the function of the model as it is,
    but for the constant that the normalization adds to the variance. A parameter counts if this holds for
    every layer that has it, and every time that the layer is called. `shape` is that of an image, (c, h, w).
    Raises RequestError if a layer computes its weight, or if the model fails on examples of this shape.
    """
    check_plain(model)
    key = architecture_key(model), shape
    if key not in _found:
        _found[key] = _trace(model, shape)
    layers = dict(model.named_modules())
    others = {p for name, layer in layers.items() if name not in _found[key] for p in _own(layer)}
    own = [p for name in _found[key] for p in _own(layers[name])]
    return [p for p in dict.fromkeys(own) if p not in others]


def _own(layer: nn.Module) -> list[Parameter]:
    return [p for p in layer.parameters(recurse=False) if p.requires_grad]


def _trace(model: nn.Module, shape: tuple[int, ...]) -> list[str]:
    """Return the names of the layers each of whose outputs is the input of a normalization."""
    outputs: dict[str, list[Any]] = {}
    inputs: list[Tensor] = []

    def watch(name: str, module: nn.Module) -> None:
        if isinstance(module, LAYERS):
            module.register_forward_hook(lambda _, __, out: outputs.setdefault(name, []).append(out))
        elif isinstance(module, NORMS):
            module.register_forward_pre_hook(lambda _, args: inputs.append(args[0]))

    pass_zeros(model, shape, watch)
    normalized = {id(tensor) for tensor in inputs}
    return [name for name, outs in outputs.items() if all(id(out) in normalized for out in outs)]
