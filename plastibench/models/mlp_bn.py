"""A multilayer perceptron with batch normalization."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

from torch import nn

from plastibench.models.layers.activation import expanded_width
from plastibench.plugins.architecture import Architecture, LayerFactories, Shape
from plastibench.plugins.fields import setting


@dataclass(frozen=True, kw_only=True)
class MLPBN(Architecture):
    """Linear, norm, activation, repeated; `depth` counts the linear layers, including the last one."""

    # The DASH paper trains this model with this rate (arXiv 2410.23495, section 5), its code on plain pixels.
    recipe: ClassVar[Mapping[str, Any]] = {"learning_rate": 0.01, "normalize": False}
    spatial_norm = False

    depth: int = setting(3, within=(1, None))
    """Linear layers; the DASH paper says three."""
    width: int = setting(1024, within=(1, None))
    """Features of each hidden layer."""

    def build(self, shape: Shape, num_classes: int, factories: LayerFactories) -> nn.Module:
        """Return the model with torch's default initialization."""
        layers: list[nn.Module] = [nn.Flatten()]
        features = prod(shape)
        for _ in range(self.depth - 1):
            activation = factories.activation()
            layers += [nn.Linear(features, self.width), factories.norm(self.width), activation]
            features = expanded_width(self.width, activation)
        return nn.Sequential(*layers, nn.Linear(features, num_classes))
