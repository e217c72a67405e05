"""Copies of models."""

import copy

from torch import Tensor, nn


def copy_model(model: nn.Module) -> nn.Module:
    """Return a copy of a model, also of one that keeps tensors with a history, which torch does not copy.

    Such as the weight that torch's older `weight_norm` computes; the next pass of the copy computes it anew.
    """
    computed = [value for module in model.modules() for value in vars(module).values() if _has_history(value)]
    return copy.deepcopy(model, {id(value): value.detach().clone() for value in computed})


def _has_history(value: object) -> bool:
    return isinstance(value, Tensor) and not value.is_leaf
