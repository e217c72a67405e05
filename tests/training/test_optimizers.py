"""Optimizers against plain transcriptions, and the learning-rate schedule against the published one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from plastibench.plugins.recipe import Recipe
from plastibench.training import optimizers
from plastibench.training.batch_norm import (
    averaged_batch_norm_statistics,
    batch_norms,
    frozen_batch_norm_statistics,
)


def problem() -> tuple[list[Tensor], Any]:
    """Return weights and a curved loss whose gradient is known to autograd alone."""
    generator = torch.Generator().manual_seed(0)
    weights = [torch.randn(4, 3, generator=generator, requires_grad=True), torch.randn(3, requires_grad=True)]
    with torch.no_grad():
        weights[1].copy_(torch.tensor([0.3, -0.2, 1.0]))
    x = torch.randn(5, 4, generator=generator)
    return weights, lambda w: (torch.tanh(x @ w[0] + w[1]) ** 2).sum()


def reference_sam(rho: float, adaptive: bool, steps: int) -> list[Tensor]:
    """Foret et al. 2021, algorithm 1; Kwon et al. 2021, equation 6; inside, SGD with momentum."""
    weights, loss = problem()
    velocity = [torch.zeros_like(w) for w in weights]
    for _ in range(steps):
        gradient = torch.autograd.grad(loss(weights), weights)
        scaled = [w.abs() * g if adaptive else g for w, g in zip(weights, gradient, strict=True)]
        norm = torch.stack([(s**2).sum() for s in scaled]).sum().sqrt()
        ascent = [(w.abs() * s if adaptive else s) * rho / norm for w, s in zip(weights, scaled, strict=True)]
        moved = [(w + e).detach().requires_grad_() for w, e in zip(weights, ascent, strict=True)]
        sharp = torch.autograd.grad(loss(moved), moved)
        velocity = [0.9 * v + g + 0.01 * w.detach() for v, g, w in zip(velocity, sharp, weights, strict=True)]
        weights = [(w - 0.05 * v).detach().requires_grad_() for w, v in zip(weights, velocity, strict=True)]
    return weights


@pytest.mark.parametrize("adaptive", [False, True])
def test_sam_is_the_algorithm_of_its_paper(adaptive: bool) -> None:
    weights, loss = problem()
    recipe = Recipe(optimizer="sam", rho=0.2, adaptive=adaptive, learning_rate=0.05, weight_decay=0.01)
    optimizer = optimizers.build_optimizer(recipe, weights)

    def closure() -> Tensor:
        optimizer.zero_grad()
        value: Tensor = loss(weights)
        value.backward()
        return value

    for _ in range(5):
        optimizer.step(closure)  # type: ignore[arg-type]
    for actual, expected in zip(weights, reference_sam(0.2, adaptive, 5), strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-6)


def test_sam_with_radius_zero_is_sgd_bit_for_bit() -> None:
    results = []
    for recipe in (Recipe(learning_rate=0.1), Recipe(optimizer="sam", rho=0.0, learning_rate=0.1)):
        weights, loss = problem()
        optimizer = optimizers.build_optimizer(recipe, weights)

        def closure(loss: Any = loss, weights: Any = weights, optimizer: Any = optimizer) -> Tensor:
            optimizer.zero_grad()
            value: Tensor = loss(weights)
            value.backward()
            return value

        for _ in range(3):
            optimizer.step(closure)  # type: ignore[arg-type]
        results.append(weights)
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_sam_needs_a_closure() -> None:
    optimizer = optimizers.build_optimizer(Recipe(optimizer="sam"), problem()[0])
    with pytest.raises(TypeError, match="closure"):
        optimizer.step()


@pytest.mark.parametrize(("name", "cls"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)])
def test_adams_first_beta_is_the_momentum(name: Any, cls: type) -> None:
    optimizer = optimizers.build_optimizer(
        Recipe(optimizer=name, momentum=0.8, weight_decay=0.1), problem()[0]
    )
    assert type(optimizer) is cls
    assert optimizer.param_groups[0]["betas"] == (0.8, 0.999)
    assert optimizer.param_groups[0]["weight_decay"] == 0.1


def test_the_learning_rate_warms_up_and_decays_at_milestones() -> None:
    recipe = Recipe(learning_rate=0.1, schedule="steps", milestones=(60, 120), decay=0.2, warmup_epochs=1)
    assert optimizers.learning_rate(recipe, 0, 0, 10) == 0.0
    assert optimizers.learning_rate(recipe, 0, 5, 10) == pytest.approx(0.05)
    assert optimizers.learning_rate(recipe, 0, 9, 10) == pytest.approx(0.09)
    assert optimizers.learning_rate(recipe, 1, 10, 10) == 0.1
    assert optimizers.learning_rate(recipe, 59, 599, 10) == 0.1
    assert optimizers.learning_rate(recipe, 60, 600, 10) == pytest.approx(0.02)
    assert optimizers.learning_rate(recipe, 120, 1200, 10) == pytest.approx(0.004)


def test_frozen_statistics_normalize_by_the_batch_and_are_not_updated() -> None:
    norm = nn.BatchNorm1d(3)
    x = torch.randn(8, 3)
    expected = nn.BatchNorm1d(3)(x)
    with frozen_batch_norm_statistics(norm):
        actual = norm(x)
    torch.testing.assert_close(actual, expected)
    assert torch.equal(norm.running_mean, torch.zeros(3))  # type: ignore[arg-type]
    assert norm.track_running_stats


def test_instance_norm_with_statistics_is_frozen_and_averaged_too() -> None:
    norm, x = nn.InstanceNorm1d(3, track_running_stats=True), torch.randn(4, 3, 5) + 7
    plain = nn.InstanceNorm1d(3)
    with frozen_batch_norm_statistics(nn.Sequential(norm, plain)):
        assert torch.equal(norm(x), plain(x))
        assert torch.equal(norm.eval()(x), x / (1 + norm.eps) ** 0.5)
    assert torch.equal(norm.running_mean, torch.zeros(3))  # type: ignore[arg-type]
    assert norm.momentum == 0.1
    with averaged_batch_norm_statistics(norm):
        norm(x)
    torch.testing.assert_close(norm.running_mean, x.mean((0, 2)))
    assert batch_norms(nn.Sequential(norm, plain)) == [norm]
