"""A small vision transformer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from plastibench.models.layers.transformer import Block, MeanOverTokens, Patches, PerToken
from plastibench.plugins.architecture import Architecture, LayerFactories, Shape
from plastibench.plugins.fields import setting


@dataclass(frozen=True, kw_only=True)
class ViT(Architecture):
    """ViT (Dosovitskiy et al. 2021, arXiv 2010.11929) without class token, as in Beyer et al. 2022.

    In that simple form (arXiv 2205.01580) positions are fixed sines and cosines, and the logits are those of
    the mean over all tokens. Blocks are pre-norm, with layer normalization and ReLU unless a remedy exchanges
    them; 137,802 weights on CIFAR-10.
    """

    recipe: ClassVar[Mapping[str, Any]] = {"optimizer": "adam", "learning_rate": 0.001}
    spatial_norm = False

    patch: int = setting(4, within=(1, None))
    """Side of a patch in pixels; each patch is a token."""
    width: int = setting(64, within=(1, None))
    """Features of a token."""
    depth: int = setting(4, within=(1, None))
    """Blocks of attention and a perceptron."""
    heads: int = setting(4, within=(1, None))
    """Parallel attentions in each block."""
    head_width: int = setting(16, within=(1, None))
    """Features of a query, a key and a value."""
    hidden: int = setting(128, within=(1, None))
    """Features of the hidden layer in each block's perceptron."""

    def build(self, shape: Shape, num_classes: int, factories: LayerFactories) -> nn.Module:
        """Return the model with torch's default initialization."""
        blocks = [
            Block(self.width, self.heads, self.head_width, self.hidden, factories) for _ in range(self.depth)
        ]
        norm = PerToken(factories.norm(self.width))
        head = nn.Linear(self.width, num_classes)
        return nn.Sequential(Patches(shape, self.patch, self.width), *blocks, norm, MeanOverTokens(), head)

    def unsupported(self, shape: Shape) -> str | None:
        """Return the reason if examples are no images, or not divisible into patches."""
        if len(shape) == 1:
            return f"it takes images, not rows of {shape[0]} numbers"
        if shape[1] % self.patch or shape[2] % self.patch:
            return f"images of {shape[1]}x{shape[2]} cannot be divided into patches of patch={self.patch}"
        return None

    @classmethod
    def default_norm(cls) -> Callable[[int], nn.Module]:
        """Return layer normalization."""
        return nn.LayerNorm
