"""The layers of a vision transformer; tokens have the shape (b, tokens, features)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from plastibench.models.layers.activation import expanded_width
from plastibench.plugins.architecture import LayerFactories, Shape

LONGEST_WAVE = 10_000


class Patches(nn.Module):
    """Cuts an image into square patches, maps each to a token, and adds its position."""

    positions: Tensor

    def __init__(self, shape: Shape, patch: int, width: int) -> None:
        super().__init__()
        self.projection = nn.Conv2d(shape[0], width, kernel_size=patch, stride=patch)
        positions = position_encoding(shape[1] // patch, shape[2] // patch, width)
        self.register_buffer("positions", positions, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, c, h, w) to (b, tokens, width), row by row."""
        return self.projection(x).flatten(2).transpose(1, 2) + self.positions  # type: ignore[no-any-return]


def position_encoding(rows: int, columns: int, width: int) -> Tensor:
    """Return sines and cosines of each patch's row and column, shape (rows * columns, width).

    A quarter of the features each, of waves that become longer geometrically (Beyer et al. 2022, arXiv
    2205.01580, appendix); a width that four does not divide has fewer of the last.
    """
    waves = -(-width // 4)
    frequencies = LONGEST_WAVE ** -(torch.arange(waves) / max(1, waves - 1))
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    angles = [place.flatten()[:, None] * frequencies for place in (x, y)]
    parts = [wave(angle) for angle in angles for wave in (torch.sin, torch.cos)]
    return torch.cat(parts, dim=1)[:, :width].contiguous()


class PerToken(nn.Module):
    """Applies a module to every token by itself, as to an example (b * tokens, features).

    So layers of remedies, which expect features in dimension 1, fit here as well.
    """

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, tokens, features) to (b, tokens, new features)."""
        return self.inner(x.flatten(0, 1)).unflatten(0, x.shape[:2])  # type: ignore[no-any-return]


class MeanOverTokens(nn.Module):
    """Averages the tokens of an example."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, tokens, features) to (b, features)."""
        return x.mean(1)


class Attention(nn.Module):
    """Attention of all tokens to all tokens (Vaswani et al. 2017, arXiv 1706.03762, section 3.2)."""

    def __init__(self, width: int, heads: int, head_width: int) -> None:
        super().__init__()
        self.heads, self.scale = heads, head_width**-0.5
        inner = heads * head_width
        self.query, self.key, self.value = (nn.Linear(width, inner) for _ in range(3))
        self.out = nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, tokens, width) to the same shape."""
        query, key, value = (self._split(layer(x)) for layer in (self.query, self.key, self.value))
        # Not torch's fused attention: it has no second derivative, and on CUDA it adds in any order.
        weights = (query @ key.transpose(-2, -1) * self.scale).softmax(dim=-1)
        return self.out((weights @ value).transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def _split(self, x: Tensor) -> Tensor:
        """Map (b, tokens, heads * n) to (b, heads, tokens, n)."""
        parts: Tensor = x.unflatten(-1, (self.heads, -1))
        return parts.transpose(1, 2)


class Block(nn.Module):
    """Attention and a perceptron, each behind a norm and inside a shortcut."""

    def __init__(
        self, width: int, heads: int, head_width: int, hidden: int, factories: LayerFactories
    ) -> None:
        super().__init__()
        activation = factories.activation()
        self.norm1 = PerToken(factories.norm(width))
        self.attention = Attention(width, heads, head_width)
        self.norm2 = PerToken(factories.norm(width))
        self.perceptron = PerToken(
            nn.Sequential(
                nn.Linear(width, hidden),
                activation,
                nn.Linear(expanded_width(hidden, activation), width),
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, tokens, width) to the same shape."""
        x = x + self.attention(self.norm1(x))
        return x + self.perceptron(self.norm2(x))  # type: ignore[no-any-return]
