"""The contract of an architecture: a model with its settings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
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
    """Makes a nonlinearity; a class attribute `expansion` says by how much it widens its input."""
    norm: Callable[[int], nn.Module]
    """Makes a normalization of so many channels or features."""


@dataclass(frozen=True, kw_only=True)
class Architecture(Settings, ABC):
    """A model with its settings."""

    recipe: ClassVar[Mapping[str, Any]] = {}
    """Settings of the standard recipe for this model, where they differ from the defaults of `Recipe`."""
    spatial_norm: ClassVar[bool] = True
    """Whether its norms see (b, channels, h, w); otherwise they see (b, features)."""

    @abstractmethod
    def build(self, shape: Shape, num_classes: int, parts: LayerFactories) -> nn.Module:
        """Return an untrained model that maps (b, *shape) to logits of shape (b, num_classes)."""

    def unsupported(self, shape: Shape) -> str | None:
        """Return the reason why images of this shape cannot be classified, or None."""
        return None
