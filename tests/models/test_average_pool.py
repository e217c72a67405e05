"""Average pooling, with torch's operation and with deterministic ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from support.operations import operations
from torch import Tensor, nn

from plastibench.models.layers.average_pool import AveragePool
from plastibench.training.hidden_units import hidden_units


@contextmanager
def deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


def pooled(pool: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the averages, and the gradient of a sum with unequal weights."""
    y: Tensor = pool(x)
    (gradient,) = torch.autograd.grad((y * torch.arange(y.numel()).view(y.shape)).sum(), x)
    return y, gradient


@pytest.mark.parametrize("side", [1, 2, 3, 4, 7, 10])
def test_both_ways_give_the_averages_of_torch(side: int) -> None:
    x = torch.randn(2, 3, side, side + 1 if side > 1 else 1, requires_grad=True)
    expected = pooled(nn.AdaptiveAvgPool2d(7), x)
    for one, other in zip(pooled(AveragePool(7), x), expected, strict=True):
        assert torch.equal(one, other)
    with deterministic():
        found = pooled(AveragePool(7), x)
        used = operations(lambda: pooled(AveragePool(7), x))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)
    assert not any("adaptive" in name for name in used), "torch's gradient raises on CUDA"


@pytest.mark.parametrize("side", [1, 3])
def test_hidden_units_are_found_either_way(side: int) -> None:
    layers = [nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), AveragePool(7), nn.Flatten(), nn.Linear(4 * 49, 2)]
    model = nn.Sequential(*layers)
    found = [units.name for units in hidden_units(model, (1, side, side), None)]
    assert found == ["0"]
    with deterministic():
        assert [units.name for units in hidden_units(model, (1, side, side), None)] == found
