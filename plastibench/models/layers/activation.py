"""Activations that change the number of features."""

from __future__ import annotations

from torch import nn


def expanded_width(width: int, activation: nn.Module) -> int:
    """Return the features that an activation gives for `width` inputs: CReLU, for example, doubles them."""
    return width * int(getattr(activation, "expansion", 1))
