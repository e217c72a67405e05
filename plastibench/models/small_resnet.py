"""A residual network that trains in seconds on a CPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from plastibench.models.layers.basic_block import kaiming_fan_out, residual_network
from plastibench.models.layers.conv3x3 import Conv3x3
from plastibench.plugins.architecture import Architecture, LayerFactories, Shape
from plastibench.plugins.fields import setting


@dataclass(frozen=True, kw_only=True)
class SmallResNet(Architecture):
    """Three residual stages (arXiv 1512.03385, section 4.2); 78,042 weights at 10 classes."""

    recipe: ClassVar[Mapping[str, Any]] = {"learning_rate": 0.01}

    width: int = setting(16, within=(1, None))
    """Channels of the first stage; the others have 2 and 4 times as many."""
    blocks: int = setting(1, within=(1, None))
    """Residual blocks a stage."""

    def build(self, shape: Shape, num_classes: int, parts: LayerFactories) -> nn.Module:
        """Return the model, convolutions initialized by fan-out."""
        activation = parts.activation()
        stem = [Conv3x3(shape[0], self.width), parts.norm(self.width), activation]
        inside = self.width * getattr(activation, "expansion", 1)
        plan = [(self.width * factor, self.blocks) for factor in (1, 2, 4)]
        return kaiming_fan_out(residual_network(stem, inside, plan, num_classes, parts))
