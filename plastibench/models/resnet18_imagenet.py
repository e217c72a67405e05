"""ResNet-18 for large images, as in its paper: 7x7 stem with stride 2, then a max-pool."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from plastibench.models.layers.basic_block import kaiming_fan_out, residual_network
from plastibench.plugins.architecture import Architecture, LayerFactories, Shape
from plastibench.plugins.fields import setting


@dataclass(frozen=True, kw_only=True)
class ResNet18ImageNet(Architecture):
    """ResNet-18 (arXiv 1512.03385) for images of 224 pixels; 11,689,512 weights at 1,000 classes."""

    width: int = setting(64, within=(1, None))
    """Channels of the first stage; the others have 2, 4 and 8 times as many."""

    def build(self, shape: Shape, num_classes: int, factories: LayerFactories) -> nn.Module:
        """Return the model, convolutions initialized by fan-out."""
        stem = nn.Conv2d(shape[0], self.width, kernel_size=7, stride=2, padding=3, bias=False)
        pool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        blocks = (2, 2, 2, 2)
        return kaiming_fan_out(
            residual_network(shape[0], self.width, blocks, num_classes, factories, stem=stem, pool=pool)
        )
