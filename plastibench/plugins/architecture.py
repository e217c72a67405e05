"""The contract of an architecture: a model with its settings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from plastibench.plugins.fields import Settings

if TYPE_CHECKING:
    from torch import nn


Shape = tuple[int, ...]
"""Shape of one example: (channels, height, width) of an image, (features,) of a row of numbers."""


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
    """Whether the input of its norms is (b, channels, h, w), rather than (b, features): a model of images."""

    @abstractmethod
    def build(self, shape: Shape, num_classes: int, factories: LayerFactories) -> nn.Module:
        """Return an untrained model that maps (b, *shape) to logits of shape (b, num_classes)."""

    def unsupported(self, shape: Shape) -> str | None:
        """Return why the model does not fit images of this shape, or None.

        A model without spatial norms may be asked about rows, of shape (features,).
        """
        return None

    def unfit(self, shape: Shape) -> str | None:
        """Return why the model does not fit examples of this shape, or None."""
        if self.spatial_norm and len(shape) == 1:
            return f"it takes images, not rows of {shape[0]} numbers"
        return self.unsupported(shape)

    @classmethod
    def default_norm(cls) -> Callable[[int], nn.Module]:
        """Return the normalization that the model has if no remedy chooses another."""
        from torch import nn

        return nn.BatchNorm2d if cls.spatial_norm else nn.BatchNorm1d
