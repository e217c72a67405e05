"""The layers and parameters that remedies act on, found by type."""

from __future__ import annotations

from typing import Literal

from torch import nn
from torch.nn import Parameter
from torch.nn.modules.batchnorm import _BatchNorm

Scope = Literal["all", "layers", "module_weights"]
"""All parameters; weights and biases of convolutions and linear layers; or the `weight` of every module, that
of normalization included, without biases."""

NORMS = (_BatchNorm, nn.LayerNorm, nn.GroupNorm)


def weight_layers(model: nn.Module) -> list[nn.Linear | nn.Conv2d]:
    """Return convolutions and linear layers in the order of the model; the last one is the head."""
    return [module for module in model.modules() if isinstance(module, (nn.Linear, nn.Conv2d))]


def parameters_in(model: nn.Module, scope: Scope) -> list[Parameter]:
    """Return the parameters of a scope, in the order of the model."""
    if scope == "all":
        return list(model.parameters())
    if scope == "module_weights":
        types = (nn.Linear, nn.Conv2d, *NORMS)
        weights = [module.weight for module in model.modules() if isinstance(module, types)]
        return [weight for weight in weights if isinstance(weight, Parameter)]
    return [parameter for layer in weight_layers(model) for parameter in layer.parameters()]
