"""ResNet-18 as in the DASH code's SoTA setting: no max-pool, torch's own initialization."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from plastibench.models.layers.basic_block import residual_network
from plastibench.plugins.architecture import Architecture, LayerFactories, Shape
from plastibench.plugins.fields import setting


@dataclass(frozen=True, kw_only=True)
class ResNet18SoTA(Architecture):
    """ResNet-18 (arXiv 1512.03385) for 32-pixel images: 3x3 stem, full resolution in the first stage."""

    width: int = setting(64, within=(1, None))
    """Channels of the first stage; the others have 2, 4 and 8 times as many."""

    def build(self, shape: Shape, num_classes: int, factories: LayerFactories) -> nn.Module:
        """Return the model with torch's default initialization."""
        return residual_network(shape[0], self.width, (2, 2, 2, 2), num_classes, factories)
