"""ResNet-18 as in the DASH code's main setting: 3x3 stem, and the max-pool of the ImageNet model kept."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from plastibench.models.layers.basic_block import kaiming_fan_out, residual_network
from plastibench.plugins.architecture import Architecture, LayerFactories, Shape
from plastibench.plugins.fields import setting


@dataclass(frozen=True, kw_only=True)
class ResNet18(Architecture):
    """ResNet-18 (arXiv 1512.03385) with a 3x3 stem and a 3x3 max-pool; 11,173,962 weights at 10 classes."""

    width: int = setting(64, within=(1, None))
    """Channels of the first stage; the others have 2, 4 and 8 times as many."""

    def build(self, shape: Shape, num_classes: int, factories: LayerFactories) -> nn.Module:
        """Return the model, convolutions initialized by fan-out."""
        pool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        model = residual_network(shape[0], self.width, (2, 2, 2, 2), num_classes, factories, pool=pool)
        return kaiming_fan_out(model)
