"""VGG-16 with batch normalization, in torchvision's layout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from plastibench.models.layers.activation import expanded_width
from plastibench.models.layers.average_pool import AveragePool
from plastibench.models.layers.basic_block import kaiming_fan_out
from plastibench.models.layers.conv3x3 import Conv3x3
from plastibench.plugins.architecture import Architecture, LayerFactories, Shape
from plastibench.plugins.fields import setting

PLAN = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
"""(channels, convolutions) of each block (Simonyan & Zisserman 2015, arXiv 1409.1556, table 1 column D)."""


@dataclass(frozen=True, kw_only=True)
class VGG16BN(Architecture):
    """VGG-16 (arXiv 1409.1556) with batch normalization; 134,309,962 weights at 10 classes."""

    # The rate of the DASH paper (arXiv 2410.23495, section 5).
    recipe: ClassVar[Mapping[str, Any]] = {"learning_rate": 0.01}

    dropout: float = setting(0.5, within=(0.0, 1.0))
    """Share of the hidden features that a training step drops."""
    hidden: int = setting(4096, within=(1, None))
    """Features of the two hidden layers of the classifier."""

    def build(self, shape: Shape, num_classes: int, factories: LayerFactories) -> nn.Module:
        """Return the model: convolutions initialized by fan-out, linear layers N(0, 0.01^2)."""
        layers: list[nn.Module] = []
        width = shape[0]
        for channels, num_convolutions in PLAN:
            for _ in range(num_convolutions):
                activation = factories.activation()
                layers += [Conv3x3(width, channels, bias=True), factories.norm(channels), activation]
                width = expanded_width(channels, activation)
            layers.append(nn.MaxPool2d(2))
        layers += [AveragePool(7), nn.Flatten()]
        width *= 7 * 7
        for _ in range(2):
            activation = factories.activation()
            layers += [nn.Linear(width, self.hidden), activation, nn.Dropout(self.dropout)]
            width = expanded_width(self.hidden, activation)
        return _initialize(nn.Sequential(*layers, nn.Linear(width, num_classes)))

    def unsupported(self, shape: Shape) -> str | None:
        """Return the reason if images vanish in the five pooling layers."""
        smallest = 2 ** len(PLAN)
        if min(shape[1:]) >= smallest:
            return None
        size = f"{shape[1]}x{shape[2]}"
        return f"it halves images five times: they must be {smallest}x{smallest} or larger, not {size}"


def _initialize(model: nn.Module) -> nn.Module:
    kaiming_fan_out(model)
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.01)
        if isinstance(module, (nn.Linear, nn.Conv2d)) and module.bias is not None:
            nn.init.zeros_(module.bias)
    return model
