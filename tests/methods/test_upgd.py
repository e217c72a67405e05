"""UPGD against its formula, one number at a time, and what its gates hold back."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from support.zoo import zoo_task
from torch import Tensor, nn

from plastibench.devices import get_device
from plastibench.plugins.registry import Registry
from plastibench.seeding import generator
from plastibench.testing.run_trace import data_context, trace_run
from plastibench.training.learner import Learner

LR, STEPS = 0.05, 3
RECIPE = {
    "max_steps": STEPS,
    "max_epochs": STEPS,
    "target_accuracy": None,
    "batch_size": 60,
    "learning_rate": LR,
}


def at_start(registry: Registry, **settings: Any) -> tuple[Any, Learner]:
    """Return the method and a learner that stands before its first step; the recipe has momentum."""
    method = registry.load("method", "upgd")(**settings)
    task = zoo_task(registry, "head_first", {**RECIPE, "momentum": 0.9, "weight_decay": 0.5})
    learner = Learner(task, method, 0, get_device("cpu"))
    learner.begin_stage(next(iter(task.stream(0, data_context()))))
    with torch.no_grad():
        method.start(learner)
    return method, learner


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0


def by_the_paper(
    learner: Learner, noise: float, beta: float, decay: float, protects: bool
) -> dict[str, Tensor]:
    """Algorithm 1 of arXiv 2404.00781, one weight at a time, in Python."""
    model, stream = learner.initial_model(), generator(learner.seed, "method")
    order = generator(learner.seed, "order", 0)
    utility = {name: [0.0] * p.numel() for name, p in model.named_parameters()}
    for step in range(1, STEPS + 1):
        data = learner.stage.train
        x, y = next(iter(data.batches(60, torch.randperm(len(data), generator=order))))
        model.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        flat = {
            name: (p.detach().flatten().tolist(), p.grad.flatten().tolist())
            for name, p in model.named_parameters()
            if p.grad is not None
        }
        for name, (weights, gradients) in flat.items():
            for i, (w, g) in enumerate(zip(weights, gradients, strict=True)):
                utility[name][i] = beta * utility[name][i] + (1 - beta) * (-g * w)
        largest = max(max(values) for values in utility.values()) / (1 - beta**step)
        for name, parameter in model.named_parameters():
            weights, gradients = flat[name]
            xi = torch.randn(parameter.shape, generator=stream).flatten().tolist()
            new = []
            for w, g, u, random in zip(weights, gradients, utility[name], xi, strict=True):
                s = sigmoid(u / (1 - beta**step) / largest)
                update = (g + noise * random) * (1 - s) if protects else g + noise * random * (1 - s)
                new.append((1 - LR * decay) * w - LR * update)
            with torch.no_grad():
                parameter.copy_(torch.tensor(new).view_as(parameter))
    return dict(model.named_parameters())


@pytest.mark.parametrize("gates", ["all", "noise"])
def test_upgd_is_its_algorithm(registry: Registry, gates: str) -> None:
    method, learner = at_start(registry, noise=0.2, beta=0.9, decay=0.1, gates=gates)
    expected = by_the_paper(learner, 0.2, 0.9, 0.1, protects=gates == "all")
    found = trace_run(learner.task, method).weights[0]
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value.detach(), rtol=1e-4, atol=1e-6)


def one_step(method: Any, learner: Learner, gradient: float) -> list[Tensor]:
    """Return the change of each parameter, if all of its gradients are the same."""
    weights = list(learner.model.parameters())
    before = [weight.detach().clone() for weight in weights]
    for weight in weights:
        weight.grad = torch.full_like(weight, gradient)
    learner.optimizer.step(lambda: torch.zeros(()))  # type: ignore[arg-type, return-value]
    with torch.no_grad():
        method.after_step(learner)
    return [weight.detach() - old for weight, old in zip(weights, before, strict=True)]


def test_useful_weights_move_less(registry: Registry) -> None:
    method, learner = at_start(registry, noise=0.0, decay=0.0)
    weights = torch.cat([weight.detach().flatten() for weight in learner.model.parameters()])
    moved = torch.cat([change.flatten() for change in one_step(method, learner, 0.5)]).abs()
    order = weights.argsort()  # with one gradient for all, utility falls as the weight rises
    assert (moved[order].diff() >= -1e-6).all()
    assert float(moved[order[0]]) == pytest.approx(LR * 0.5 * (1 - sigmoid(1.0)), rel=1e-3)
    assert float(moved.max()) < LR * 0.5


def test_no_weight_is_protected_if_none_is_useful(registry: Registry) -> None:
    method, learner = at_start(registry, noise=0.0, decay=0.0)
    with torch.no_grad():
        for weight in learner.model.parameters():
            weight.abs_().add_(
                0.1
            )  # with positive gradients all utilities are negative: the gate would invert
    for change in one_step(method, learner, 0.5):
        torch.testing.assert_close(change, torch.full_like(change, -LR * 0.5))


def test_the_local_form_divides_by_the_norm_of_the_row(registry: Registry) -> None:
    method, learner = at_start(registry, noise=0.0, decay=0.0, scale="local")
    weight = learner.model.get_parameter("head.weight").detach().clone()
    index = [name for name, _ in learner.model.named_parameters()].index("head.weight")
    moved = one_step(method, learner, 0.5)[index]
    for row, change in zip(weight.tolist(), moved.tolist(), strict=True):
        norm = math.sqrt(sum((0.5 * w) ** 2 for w in row))
        expected = [-LR * 0.5 * (1 - sigmoid(-0.5 * w / norm)) for w in row]
        assert change == pytest.approx(expected, rel=1e-3, abs=1e-7)
