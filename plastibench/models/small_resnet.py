"""A residual network that trains in seconds on a CPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from plastibench.models.layers.basic_block import kaiming_fan_out, residual_network
from plastibench.plugins.architecture import Architecture, LayerFactories, Shape
from plastibench.plugins.fields import setting


@dataclass(frozen=True, kw_only=True)
class SmallResNet(Architecture):
    """Three residual stages (arXiv 1512.03385, section 4.2); 78,042 weights at 10 classes."""

    recipe: ClassVar[Mapping[str, Any]] = {"learning_rate": 0.01}

    width: int = setting(16, within=(1, None))
    """Channels of the first stage; the others have 2 and 4 times as many."""
    blocks: int = setting(1, within=(1, None))
    """Residual blocks per stage."""

    def build(self, shape: Shape, num_classes: int, factories: LayerFactories) -> nn.Module:
        """Return the model, convolutions initialized by fan-out."""
        blocks = (self.blocks,) * 3
        return kaiming_fan_out(residual_network(shape[0], self.width, blocks, num_classes, factories))
