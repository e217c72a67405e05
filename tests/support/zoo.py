"""Small models that are not plain: what remedies and the protocol must not take for granted."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from plastibench.plugins.architecture import Architecture, LayerFactories, Shape
from plastibench.plugins.registry import Registry
from plastibench.plugins.task import Task
from support.tasks import small_digits

WIDTH = 6


def rows(x: Tensor) -> Tensor:
    """Return images (b, 1, h, w) as sequences of rows (b, h, w)."""
    return x.squeeze(1)


class Tied(nn.Module):
    """Two layers share a weight, and a third one is a module that runs twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(64, WIDTH)
        self.a, self.b = nn.Linear(WIDTH, WIDTH, bias=False), nn.Linear(WIDTH, WIDTH)
        self.b.weight = self.a.weight
        self.twice = nn.Linear(WIDTH, WIDTH)
        self.head = nn.Linear(WIDTH, 10)

    def forward(self, x: Tensor) -> Tensor:
        y = self.b(self.a(self.stem(x.flatten(1))).relu()).relu()
        return self.head(self.twice(self.twice(y).relu()))  # type: ignore[no-any-return]


class Frozen(nn.Module):
    """A layer, a norm and a bias that are not trained."""

    def __init__(self) -> None:
        super().__init__()
        self.fixed, self.norm = nn.Linear(64, WIDTH), nn.BatchNorm1d(WIDTH)
        self.body, self.head = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 10)
        self.fixed.requires_grad_(False)
        self.norm.requires_grad_(False)
        self.body.bias.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.norm(self.fixed(x.flatten(1))).relu()))  # type: ignore[no-any-return]


class HeadFirst(nn.Module):
    """The head is registered before the body."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(WIDTH, 10)
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, WIDTH), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))  # type: ignore[no-any-return]


class Attention(nn.Module):
    """Attention between the rows of an image, with a class token and positions of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Linear(8, 8), nn.LayerNorm(8)
        self.token, self.positions = nn.Parameter(torch.randn(1, 1, 8)), nn.Parameter(torch.randn(9, 8))
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        y = self.stem(rows(x))
        y = self.norm(torch.cat([self.token.expand(len(y), 1, 8), y], 1) + self.positions)
        return self.head(self.attention(y, y, y, need_weights=True)[0][:, 0])  # type: ignore[no-any-return]


class Embedded(nn.Module):
    """Pixels become tokens; the embedding has rows that no image uses."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.body = nn.Embedding(9, 3), nn.Linear(3 * 64, WIDTH)
        self.head = nn.Linear(WIDTH, 10)

    def forward(self, x: Tensor) -> Tensor:
        tokens = (x.flatten(1) * 2 + 2).long().clamp(0, 6)
        return self.head(self.body(self.embedding(tokens).flatten(1)).relu())  # type: ignore[no-any-return]


class Recurrent(nn.Module):
    """An LSTM over the rows of an image, and one step of a cell."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.cell = nn.LSTM(8, WIDTH, batch_first=True), nn.GRUCell(WIDTH, WIDTH)
        self.head = nn.Linear(WIDTH, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cell(self.lstm(rows(x))[0][:, -1]))  # type: ignore[no-any-return]


class Buffers(nn.Module):
    """State beside the weights: buffers, one of them not in `state_dict`, and a plain counter."""

    scale: Tensor
    seen: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(64, WIDTH), nn.Linear(WIDTH, 10)
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("seen", torch.zeros(WIDTH), persistent=False)
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x.flatten(1)).relu()
        if self.training:
            self.calls += 1
            self.scale.mul_(0.99)
            self.seen.mul_(0.9).add_(y.detach().mean(0))
        return self.head(y * self.scale - self.seen / (1 + self.calls))  # type: ignore[no-any-return]


class TwoParts(nn.Module):
    """Two towers, each of which a module of its own, and no norm."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Sequential(nn.Conv1d(8, WIDTH, 3, padding=1), nn.ReLU(), nn.Flatten())
        self.right = nn.Sequential(nn.Conv2d(1, 2, 3, groups=1), nn.ReLU(), nn.Flatten())
        self.head = nn.Linear(8 * WIDTH + 72, 10, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.cat([self.left(rows(x)), self.right(x)], 1))  # type: ignore[no-any-return]


def volumes() -> nn.Module:
    """Return a model of convolutions in three dimensions."""
    layers = [nn.Unflatten(2, (2, 4)), nn.Conv3d(1, 3, 2), nn.BatchNorm3d(3), nn.ReLU(), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(3 * 1 * 3 * 7, 10))


def transposed() -> nn.Module:
    """Return a model that makes its images larger."""
    layers = [nn.ConvTranspose2d(1, 3, 2, stride=2), nn.InstanceNorm2d(3, affine=True), nn.ReLU()]
    return nn.Sequential(*layers, nn.AvgPool2d(4), nn.Flatten(), nn.Linear(3 * 16, 10))


def body() -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 10))


def parametrized(kind: Callable[..., Any], *options: Any) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        model = body()
        with warnings.catch_warnings(
            action="ignore", category=FutureWarning
        ):  # models still use the old ones
            kind(model[1], *options)
        return model

    return build


PLAIN: dict[str, Callable[[], nn.Module]] = {
    "tied": Tied,
    "frozen": Frozen,
    "head_first": HeadFirst,
    "attention": Attention,
    "embedding": Embedded,
    "recurrent": Recurrent,
    "buffers": Buffers,
    "two_parts": TwoParts,
    "conv3d": volumes,
    "transposed": transposed,
}
"""Models that every method runs on."""
PARAMETRIZED = {
    "weight_norm": parametrized(parametrizations.weight_norm),
    "spectral_norm": parametrized(parametrizations.spectral_norm),
    "old_weight_norm": parametrized(nn.utils.weight_norm),
    "old_spectral_norm": parametrized(nn.utils.spectral_norm),
    "pruned": parametrized(prune.l1_unstructured, "weight", 0.5),
}
"""Models of which a layer computes its weight, on which a method that acts on weights is refused."""


@dataclass(frozen=True, kw_only=True)
class ZooModel(Architecture):
    """A model of the zoo by its name."""

    name: str = "tied"

    models: ClassVar[dict[str, Callable[[], nn.Module]]] = {**PLAIN, **PARAMETRIZED}

    def build(self, shape: Shape, num_classes: int, factories: LayerFactories) -> nn.Module:
        return self.models[self.name]()


def zoo_task(registry: Registry, name: str, recipe: dict[str, Any] | None = None, **task: Any) -> Task:
    """Return small digits with a model of the zoo."""
    few = {"max_epochs": 1, "batch_size": 16, "learning_rate": 0.05, **(recipe or {})}
    return replace(
        small_digits(registry, "mlp_bn", few, train_size=60, stages=2, **task),
        architecture=ZooModel(name=name),
    )
