"""A plain convolutional network without normalization."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import nn

from plastibench.models.layers.activation import expanded_width
from plastibench.plugins.architecture import Architecture, LayerFactories, Shape
from plastibench.plugins.fields import setting

KERNELS = (5, 3, 3)
"""Sides of the convolutions' kernels; each convolution has twice the channels of the one before."""
HIDDEN_LAYERS = 2


@dataclass(frozen=True, kw_only=True)
class PlainCNN(Architecture):
    """The network of Continual ImageNet (Dohare et al. 2024, arXiv 2306.13812); 178,250 weights on CIFAR-10.

    Three convolutions, each followed by an activation and a max-pool, then two hidden layers. It has no norm,
    so a remedy that exchanges norms has nothing to do.
    """

    recipe: ClassVar[Mapping[str, Any]] = {"learning_rate": 0.01}

    width: int = setting(32, within=(1, None))
    """Channels of the first convolution; the others have 2 and 4 times as many."""
    hidden: int = setting(128, within=(1, None))
    """Features of each hidden layer."""
    padding: Literal["none", "same"] = "none"
    """Around the input of convolutions: none as published, same for images of less than 24 pixels a side."""

    def build(self, shape: Shape, num_classes: int, factories: LayerFactories) -> nn.Module:
        """Return the model with torch's default initialization."""
        layers: list[nn.Module] = []
        channels = shape[0]
        for stage, kernel in enumerate(KERNELS):
            width, padding = self.width * 2**stage, kernel // 2 if self.padding == "same" else 0
            activation = factories.activation()
            layers += [nn.Conv2d(channels, width, kernel, padding=padding), activation, nn.MaxPool2d(2)]
            channels = expanded_width(width, activation)
        layers.append(nn.Flatten())
        features = channels * self._side(shape[1]) * self._side(shape[2])
        for _ in range(HIDDEN_LAYERS):
            activation = factories.activation()
            layers += [nn.Linear(features, self.hidden), activation]
            features = expanded_width(self.hidden, activation)
        return nn.Sequential(*layers, nn.Linear(features, num_classes))

    def unsupported(self, shape: Shape) -> str | None:
        """Return the reason if nothing is left of an image after the pooling layers."""
        if min(self._side(shape[1]), self._side(shape[2])) >= 1:
            return None
        smallest = next(side for side in range(1, 99) if self._side(side) >= 1)
        hint = "; padding=same allows smaller ones" if self.padding == "none" else ""
        return f"images must be {smallest}x{smallest} or larger, not {shape[1]}x{shape[2]}{hint}"

    def _side(self, side: int) -> int:
        """Return the side of the last convolution's output after its pool."""
        for kernel in KERNELS:
            side = (side if self.padding == "same" else side - kernel + 1) // 2
        return side
