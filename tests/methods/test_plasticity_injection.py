"""Plasticity injection: nothing changes at the injection, and one head of three is trained after it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from support.tasks import small_digits
from support.zoo import zoo_task
from torch import Tensor

from plastibench.devices import get_device
from plastibench.errors import RequestError
from plastibench.plugins.method import Method
from plastibench.plugins.registry import Registry
from plastibench.testing.run_trace import data_context, trace_run
from plastibench.training.learner import Learner
from plastibench.training.optimizers import start_schedule
from plastibench.training.step import TrainStep

HEAD = {"mlp_bn": "7", "small_resnet": "8"}


class Run:
    """A run by hand, stage by stage."""

    def __init__(self, registry: Registry, model: str, **settings: Any) -> None:
        self.task = small_digits(registry, model, recipe={"batch_size": 16})
        self.method: Method = registry.load("method", "plasticity_injection")(**settings)
        self.learner = Learner(self.task, self.method, 0, get_device("cpu"))
        self.stages = list(self.task.stream(0, data_context()))
        self.heads: Any = self.learner.model.get_submodule(HEAD[model])

    def begin(self, index: int) -> None:
        self.learner.begin_stage(self.stages[index])
        with torch.no_grad():
            (self.method.before_stage if index else self.method.start)(self.learner)
        start_schedule(self.learner.optimizer, self.task.recipe, self.learner.device.make_lr)

    def train(self) -> None:
        step = TrainStep(self.learner, self.method)
        for x, y in self.learner.stage.train.batches(16):
            step(x, y)

    def logits(self) -> Tensor:
        x, _ = next(iter(self.stages[0].train.batches(50)))
        with torch.no_grad():
            return copy.deepcopy(self.learner.model).eval()(x)  # type: ignore[no-any-return]


@pytest.fixture(params=HEAD)
def run(request: pytest.FixtureRequest, registry: Registry) -> Run:
    return Run(registry, request.param)


def weights(part: Any) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in part.parameters()]


def equal(a: list[Tensor], b: list[Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_until_the_first_injection_it_is_a_warm_start(registry: Registry, run: Run) -> None:
    plain = Learner(run.task, Method(), 0, get_device("cpu"))
    plain.begin_stage(run.stages[0])
    run.begin(0)
    step = TrainStep(plain, Method())
    for x, y in plain.stage.train.batches(16):
        step(x, y)
    run.train()
    assert equal(weights(run.heads.head), weights(plain.head))
    x, _ = next(iter(run.stages[0].train.batches(50)))
    with torch.no_grad():
        assert torch.equal(run.logits(), plain.model.eval()(x))


@pytest.mark.heavy
def test_an_injection_changes_no_output_and_then_trains_the_added_head_alone(run: Run) -> None:
    run.begin(0)
    run.train()
    before, trained = run.logits(), sum(p.numel() for p in run.learner.model.parameters() if p.requires_grad)
    run.begin(1)
    assert torch.equal(run.logits(), before)
    assert trained == sum(p.numel() for p in run.learner.model.parameters() if p.requires_grad)
    head, added, removed = (weights(part) for part in (run.heads.head, run.heads.added, run.heads.removed))
    assert equal(added, removed)
    run.train()
    assert equal(weights(run.heads.head), head)
    assert equal(weights(run.heads.removed), removed)
    assert not equal(weights(run.heads.added), added)
    assert not torch.equal(run.logits(), before)


def test_the_gradient_of_the_features_is_the_formulas(run: Run) -> None:
    run.begin(0)
    run.begin(1)
    x = torch.randn(5, run.heads.head.in_features)
    for leaf in (z := x.clone().requires_grad_(), w := x.clone().requires_grad_()):
        assert leaf.grad is None
    run.heads(z).square().sum().backward()
    h, a, b = (part for part in (run.heads.head, run.heads.added, run.heads.removed))
    (h(w) + a(w) - b(w).detach()).square().sum().backward()
    assert z.grad is not None
    assert w.grad is not None
    torch.testing.assert_close(z.grad, w.grad, rtol=1e-5, atol=1e-6)


def test_heads_are_folded_so_that_memory_does_not_grow(run: Run) -> None:
    run.begin(0)
    size = len(run.learner.model.state_dict())
    for index in (1, 2):
        run.train()
        head, added, removed = (
            weights(part) for part in (run.heads.head, run.heads.added, run.heads.removed)
        )
        before = run.logits()
        run.begin(index)
        folded = [h + (a - b) for h, a, b in zip(head, added, removed, strict=True)]
        assert equal(weights(run.heads.head), folded)
        torch.testing.assert_close(run.logits(), before, rtol=1e-5, atol=1e-5)
    assert len(run.learner.model.state_dict()) == size


def test_it_can_be_injected_before_some_stages_only(registry: Registry) -> None:
    run = Run(registry, "mlp_bn", every=2)
    run.begin(0)
    run.begin(1)
    assert run.heads.head.weight.requires_grad
    run.begin(2)
    assert not run.heads.head.weight.requires_grad


def test_the_momentum_of_the_added_head_starts_at_nothing(run: Run) -> None:
    for index in range(3):
        run.begin(index)
        state = run.learner.optimizer.state.get(run.heads.added.weight, {})
        momentum = state.get("momentum_buffer")
        assert momentum is None or momentum.abs().max() == 0
        run.train()


@pytest.mark.heavy
def test_a_model_whose_head_is_not_known_is_refused(registry: Registry) -> None:
    method = registry.load("method", "plasticity_injection")()
    with pytest.raises(RequestError, match="layer '1' of the model computes its weight"):
        method.build(zoo_task(registry, "weight_norm"))
    trace_run(zoo_task(registry, "recurrent"), method)
