"""The controls of DASH against DASH itself: each differs in the one part that it replaces."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from support.tasks import small_digits
from torch import Tensor, nn

from plastibench.devices import get_device
from plastibench.plugins.registry import Registry
from plastibench.testing.run_trace import data_context
from plastibench.training.learner import Learner


def factors(
    registry: Registry, method: str, chunks: tuple[int, ...] | None = None, **settings: Any
) -> tuple[dict[str, Tensor], Learner]:
    """Return what a method multiplies each parameter by before the third stage, and the learner before it."""
    remedy = registry.load("method", method)(floor=-1.0, **settings)
    learner = Learner(small_digits(registry, "small_resnet"), remedy, 0, get_device("cpu"))
    learner.begin_stage(list(learner.task.stream(0, data_context()))[2])
    if chunks:
        learner.begin_stage(replace(learner.stage, chunks=chunks))
    noise = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in learner.model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=noise))
    before = copy.deepcopy(learner.model)
    with torch.no_grad():
        remedy.before_stage(learner)
    pairs = zip(before.named_parameters(), learner.model.parameters(), strict=True)
    found = {name: (new / old).detach() for (name, old), new in pairs if old.dim() > 1}
    learner.model = before
    return found, learner


def by_vector(value: Tensor) -> Tensor:
    return value.flatten(2)[..., 0] if value.dim() == 4 else value[:, 0]


def test_permuted_factors_are_those_of_dash_in_another_order(registry: Registry) -> None:
    dash, _ = factors(registry, "dash")
    permuted, _ = factors(registry, "dash", control="permuted")
    for name, value in dash.items():
        one, other = by_vector(value).flatten(), by_vector(permuted[name]).flatten()
        torch.testing.assert_close(one.sort().values, other.sort().values, rtol=1e-4, atol=1e-5)
        assert not torch.allclose(one, other, atol=1e-3), name


def test_a_uniform_factor_is_the_mean_of_those_of_dash(registry: Registry) -> None:
    dash, _ = factors(registry, "dash")
    uniform, _ = factors(registry, "dash", control="uniform")
    for name, value in dash.items():
        expected = by_vector(value).mean().expand_as(value)
        torch.testing.assert_close(uniform[name], expected, rtol=1e-3, atol=1e-4)


def cosines(learner: Learner, start: int) -> dict[str, Tensor]:
    """Return each vector's cosine with the negative gradient of the loss from example `start` on."""
    data: Any = learner.stage.train
    x = (data.x[start:].float() / 255 - data.mean) / data.std
    model = copy.deepcopy(learner.model).eval()
    nn.functional.cross_entropy(model(x), data.y[start:]).backward()
    found = {}
    for name, weight in model.named_parameters():
        if weight.dim() > 1:
            assert weight.grad is not None
            first = 2 if weight.dim() == 4 else 1
            w, g = weight.detach().flatten(first), weight.grad.flatten(first)
            found[name] = nn.functional.cosine_similarity(w, -g, dim=-1)
    return found


# Chunks of different sizes: the mean over all data is not the mean over chunks.
@pytest.mark.parametrize(("control", "start"), [("newest_chunk", 100), ("mean_gradient", 0)])
def test_the_gradient_is_of_the_newest_chunk_or_of_all_data(
    registry: Registry, control: str, start: int
) -> None:
    found, learner = factors(registry, "dash", (20, 80, 30), control=control, micro_batch=16)
    assert learner.cost.remedy_passes == 130 - start
    for name, expected in cosines(learner, start).items():
        torch.testing.assert_close(by_vector(found[name]), expected, rtol=1e-3, atol=1e-3)
    dash, _ = factors(registry, "dash", (20, 80, 30))
    assert any(not torch.allclose(dash[name], found[name], atol=0.01) for name in dash)
