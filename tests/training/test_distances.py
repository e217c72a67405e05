"""Distances of weights from their origins, against torch's own derivatives."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from plastibench.api import distances

Norms = Callable[[list[Tensor], list[Tensor]], Tensor]
FORMS: list[Callable[[Tensor], Tensor]] = [
    lambda norms: 1e-2 * 1.0 * norms.square().sum(),
    lambda norms: 1e-2 * 0.5 * norms.square().sum(),
    lambda norms: 1e-2 * norms.sum().square(),
]


def by_torch(weights: list[Tensor], origins: list[Tensor]) -> Tensor:
    """The formula, differentiated operation by operation."""
    return torch.stack([torch.linalg.vector_norm(w - o) for w, o in zip(weights, origins, strict=True)])


def penalized() -> tuple[list[Tensor], list[Tensor]]:
    """Return weights of several shapes and memory formats, one of them at its origin, and the origins."""
    draw = torch.Generator().manual_seed(0)
    shapes = [(16, 3, 3, 3), (16,), (10, 16), (), (7, 5)]
    origins = [torch.randn(shape, generator=draw) for shape in shapes]
    origins[0] = origins[0].contiguous(memory_format=torch.channels_last)
    moved = [origin + 0.1 * torch.randn(origin.shape, generator=draw) for origin in origins[:-1]]
    return [weight.requires_grad_() for weight in (*moved, origins[-1].clone())], origins


@pytest.mark.parametrize("form", FORMS)
def test_values_and_gradients_have_torchs_bits(form: Callable[[Tensor], Tensor]) -> None:
    weights, origins = penalized()
    found, expected = form(distances(weights, origins)), form(by_torch(weights, origins))
    assert torch.equal(found, expected)
    pairs = zip(torch.autograd.grad(found, weights), torch.autograd.grad(expected, weights), strict=True)
    for one, other in pairs:
        assert torch.equal(one, other)
        assert one.stride() == other.stride()


def test_second_derivatives_are_torchs() -> None:
    weights, origins = penalized()
    weights, origins = weights[:-1], origins[:-1]  # at its origin a distance has none

    def twice(norms: Norms) -> tuple[Tensor, ...]:
        first = torch.autograd.grad(FORMS[2](norms(weights, origins)), weights, create_graph=True)
        return torch.autograd.grad(sum((g.sin().sum() for g in first), torch.zeros(())), weights)

    for one, other in zip(twice(distances), twice(by_torch), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
