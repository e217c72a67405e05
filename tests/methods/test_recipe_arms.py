"""Remedies that are another recipe: each against its formula, one number at a time."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from support.tasks import augmented, small_digits
from support.zoo import zoo_task
from torch import Tensor, nn

from plastibench.devices import get_device
from plastibench.errors import RequestError
from plastibench.plugins.method import Method
from plastibench.plugins.registry import Registry
from plastibench.seeding import generator
from plastibench.testing.run_trace import data_context, equal_weights, trace_run
from plastibench.training.learner import Learner

ONE_STEP = {"max_steps": 1, "target_accuracy": None, "batch_size": 60, "momentum": 0.0}


def first_batch(learner: Learner) -> tuple[Tensor, Tensor]:
    """Return the first batch of a run."""
    data = learner.stage.train
    order = torch.randperm(len(data), generator=generator(learner.seed, "order", 0))
    return next(iter(data.batches(60, order)))


def fresh(registry: Registry, method: Method, model: str, **recipe: Any) -> Learner:
    task = zoo_task(registry, model, {**ONE_STEP, **recipe})
    learner = Learner(task, method, 0, get_device("cpu"))
    learner.begin_stage(next(iter(task.stream(0, data_context()))))
    return learner


def gradients(model: nn.Module, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    nn.functional.cross_entropy(model(x), y).backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("adaptive", [False, True])
def test_a_step_of_sam_takes_the_gradient_where_the_ascent_leads(registry: Registry, adaptive: bool) -> None:
    method = registry.load("method", "sam")(rho=0.3, adaptive=adaptive)
    learner = fresh(registry, method, "head_first", weight_decay=0.1, learning_rate=0.05)
    model, (x, y) = learner.initial_model(), first_batch(learner)
    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    ascent = gradients(model, x, y)
    total = 0.0
    for name, g in ascent.items():
        for w, d in zip(start[name].flatten().tolist(), g.flatten().tolist(), strict=True):
            total += (abs(w) * d if adaptive else d) ** 2
    with torch.no_grad():
        for name, p in model.named_parameters():
            scale = start[name] ** 2 if adaptive else torch.ones_like(p)
            p.add_(0.3 * scale * ascent[name] / math.sqrt(total))
    descent = gradients(model, x, y)
    after = trace_run(learner.task, method).weights[0]
    for name, w in start.items():
        torch.testing.assert_close(after[name], w - 0.05 * (descent[name] + 0.1 * w), rtol=1e-4, atol=1e-6)
        assert not torch.allclose(after[name], w - 0.05 * (ascent[name] + 0.1 * w), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("statistics", ["first", "both"])
@pytest.mark.heavy
def test_sam_as_a_method_is_sam_as_the_recipe(registry: Registry, statistics: str) -> None:
    settings = {"optimizer": "sam", "rho": 0.2, "adaptive": True, "sam_statistics": statistics}
    schedule = {"schedule": "steps", "milestones": (1,), "warmup_epochs": 1}
    method = registry.load("method", "sam")(rho=0.2, adaptive=True, statistics=statistics)
    arm = trace_run(small_digits(registry, recipe=schedule), method)
    recipe = trace_run(small_digits(registry, recipe={**schedule, **settings}), Method())
    assert equal_weights(arm.weights, recipe.weights)
    cost = arm.results[0].cost
    assert cost.second_passes == cost.train_passes // 2 == cost.samples


def test_sam_in_its_two_passes_updates_statistics_once(registry: Registry) -> None:
    cls, task = registry.load("method", "sam"), small_digits(registry, recipe=ONE_STEP)
    warm, first, both = (trace_run(task, one).weights[0] for one in (Method(), cls(), cls(statistics="both")))
    means = [name for name in warm if name.endswith("running_mean")]
    assert all(torch.equal(warm[name], first[name]) for name in means)
    assert not all(torch.equal(warm[name], both[name]) for name in means)


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_sam_is_refused_around_another_optimizer(registry: Registry, optimizer: str) -> None:
    task, cls = small_digits(registry, recipe={"optimizer": optimizer}), registry.load("method", "sam")
    with pytest.raises(RequestError, match=f"SAM around SGD, and the recipe has optimizer={optimizer}"):
        trace_run(task, cls())
    trace_run(task, cls(rho=0.0))  # which changes nothing


@pytest.mark.heavy
def test_augmentation_as_a_method_is_augmentation_as_the_recipe(registry: Registry) -> None:
    cls = registry.load("method", "data_augmentation")
    task, other = (augmented(small_digits(registry, recipe=recipe)) for recipe in ({}, {"augment": True}))
    arm, recipe, warm = trace_run(task, cls()), trace_run(other, Method()), trace_run(task, Method())
    assert equal_weights(arm.weights, recipe.weights)
    assert not equal_weights(arm.weights, warm.weights)


def test_augmentation_is_refused_if_the_task_has_none(registry: Registry) -> None:
    with pytest.raises(RequestError, match="Digits has no augmentation"):
        trace_run(small_digits(registry), registry.load("method", "data_augmentation")())


@pytest.mark.heavy
def test_muon_as_a_method_is_muon_as_the_recipe(registry: Registry) -> None:
    settings = {"optimizer": "muon", "learning_rate": 0.03, "momentum": 0.9, "weight_decay": 0.1}
    schedule = {"schedule": "steps", "milestones": (1,), "warmup_epochs": 1}
    method = registry.load("method", "muon")(learning_rate=0.03, momentum=0.9, weight_decay=0.1)
    arm = trace_run(small_digits(registry, recipe=schedule), method)
    recipe = trace_run(small_digits(registry, recipe={**schedule, **settings}), Method())
    assert equal_weights(arm.weights, recipe.weights)


def test_muon_is_refused_if_the_model_is_its_head(registry: Registry) -> None:
    task = small_digits(registry, "mlp_bn")
    linear = replace(task, architecture=replace(task.architecture, depth=1))  # type: ignore[call-arg]
    with pytest.raises(RequestError, match="no hidden weight matrix: all of it is the head"):
        trace_run(linear, registry.load("method", "muon")())
