"""The contract of an architecture: a model with its settings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from plastibench.plugins.fields import Settings

if TYPE_CHECKING:
    from torch import nn


Shape = tuple[int, int, int]
"""Shape of one image: (channels, height, width)."""


@dataclass(frozen=True, kw_only=True)
class LayerFactories:
    """The layers between a model's weights: a remedy of architecture exchanges them."""

    activation: Callable[[], nn.Module]
    """Returns a nonlinearity; its attribute `expansion`, if any, is the factor of its output width."""
    norm: Callable[[int], nn.Module]
    """Returns a normalization for a number of channels or features."""


@dataclass(frozen=True, kw_only=True)
class Architecture(Settings, ABC):
    """A model with its settings."""

    recipe: ClassVar[Mapping[str, Any]] = {}
    """Settings of the standard recipe for this model that differ from the defaults of `Recipe`."""
    head: ClassVar[str | None] = None
    """Name of the output layer in the model, such as `fc`; None for the layer that returns the logits."""
    hidden_units: ClassVar[Mapping[str, Sequence[str]] | None] = None
    """What the units of each layer feed, by names in the model, such as {"fc1": ("norm1", "fc2")}; None to
    follow them through a run of the model, for which it must be made of layers and torch's functions."""
    spatial_norm: ClassVar[bool] = True
    """Whether the input of its norms is (b, channels, h, w), rather than (b, features)."""

    @abstractmethod
    def build(self, shape: Shape, num_classes: int, factories: LayerFactories) -> nn.Module:
        """Return an untrained model that maps (b, *shape) to logits of shape (b, num_classes)."""

    def unsupported(self, shape: Shape) -> str | None:
        """Return why the model does not fit images of this shape, or None."""
        return None
