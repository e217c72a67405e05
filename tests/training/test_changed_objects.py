"""What models and methods keep beside weights: restored when a run is resumed, or refused at a checkpoint."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from types import MethodType
from typing import Any

import pytest
import torch
from support.tasks import small_digits
from torch import Tensor, nn

from plastibench.errors import RequestError
from plastibench.plugins.method import Method
from plastibench.plugins.registry import Registry
from plastibench.plugins.task import Task
from plastibench.testing import laws
from plastibench.testing.run_trace import trace_interrupted_run, trace_run
from plastibench.training.learner import Learner


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(64, 8), nn.Linear(8, 10)
        self.prepare()

    def prepare(self) -> None:
        """Set more attributes."""

    def middle(self, y: Tensor) -> Tensor:
        return y

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.middle(self.body(x.flatten(1)).relu()))  # type: ignore[no-any-return]


class ListOfTensors(Net):
    def prepare(self) -> None:
        self.memory = [torch.zeros(8)]

    def middle(self, y: Tensor) -> Tensor:
        if self.training:
            self.memory[0] = self.memory[0] * 0.9 + y.detach().mean(0)
        return y - self.memory[0]


class SharedCounter(Net):
    def prepare(self) -> None:
        self.counter = {"calls": 0}
        self.body.counter = self.counter  # type: ignore[assignment]

    def middle(self, y: Tensor) -> Tensor:
        self.counter["calls"] += self.training
        return y / (1 + self.body.counter["calls"])  # type: ignore[index]


class ViewOfWeight(Net):
    def prepare(self) -> None:
        self.view = self.body.weight.data[:, :8]

    def middle(self, y: Tensor) -> Tensor:
        return y @ self.view


class Drawn(Net):
    def prepare(self) -> None:
        self.shift = float(torch.rand(()))

    def middle(self, y: Tensor) -> Tensor:
        return y + self.shift


class ExtraState(Net):
    def prepare(self) -> None:
        self.calls = Counter[str]()

    def get_extra_state(self) -> Any:
        return {"calls": self.calls["forward"]}

    def set_extra_state(self, state: Any) -> None:
        self.calls["forward"] = state["calls"]

    def middle(self, y: Tensor) -> Tensor:
        self.calls["forward"] += self.training
        return y / (1 + self.calls["forward"])


class Box(ExtraState):
    get_extra_state, set_extra_state = nn.Module.get_extra_state, nn.Module.set_extra_state


class OwnGenerator(Net):
    def prepare(self) -> None:
        self.noise = torch.Generator().manual_seed(0)

    def middle(self, y: Tensor) -> Tensor:
        return y + torch.randn(y.shape, generator=self.noise) if self.training else y


class UnchangedObject(Net):
    def prepare(self) -> None:
        self.names, self.parts = Counter(body=1), [self.body, self.head]


def task(registry: Registry, **recipe: Any) -> Task:
    options = {"batch_size": 16, "max_epochs": 1, "learning_rate": 0.05, "warmup_epochs": 0, **recipe}
    return small_digits(registry, "mlp_bn", options, train_size=40, stages=2)


def with_model(registry: Registry, method: str, model: Callable[[], nn.Module]) -> type[Method]:
    base: Any = registry.load("method", method)
    return dataclass(kw_only=True)(type("Mine", (base,), {"build": lambda self, task: model()}))


@pytest.mark.parametrize(
    "model", [ListOfTensors, SharedCounter, ViewOfWeight, Drawn, ExtraState, UnchangedObject]
)
def test_attributes_of_a_model_are_restored(registry: Registry, model: type[Net]) -> None:
    laws.interruption_changes_nothing(task(registry), with_model(registry, "cold", model))


@pytest.mark.parametrize(
    ("model", "message"),
    [(Box, "the object calls of 'Box'"), (OwnGenerator, "the object noise of 'OwnGenerator'")],
)
def test_a_changed_object_is_refused(registry: Registry, model: type[Net], message: str) -> None:
    with pytest.raises(RequestError, match=f"changes {message} of the model, which no checkpoint would have"):
        trace_interrupted_run(task(registry), with_model(registry, "warm", model), every=2)


class Rho(Method):
    def start(self, learner: Learner) -> None:
        learner.optimizer.rho = 1.0  # type: ignore[attr-defined]


@dataclass(kw_only=True)
class KeepsParts(Method):
    """Keeps a parameter group and a buffer, and changes them later."""

    group: Any = field(default=None, init=False)
    mean: Any = field(default=None, init=False)

    def start(self, learner: Learner) -> None:
        head, body = set(learner.head.parameters()), learner.optimizer.param_groups[0]
        body["params"] = [parameter for parameter in body["params"] if parameter not in head]
        learner.optimizer.add_param_group({"params": list(head), "lr": 0.01})
        self.group, self.mean = learner.optimizer.param_groups[1], learner.model[2].running_mean  # type: ignore[index]

    def before_stage(self, learner: Learner) -> None:
        self.group["lr"] *= 0.1
        self.mean.zero_()


class LeftoverGradient(Method):
    """Adds to the gradient that the model has, as `learner.backward` does."""

    def before_stage(self, learner: Learner) -> None:
        learner.backward(learner.model, *next(iter(learner.stage.train.batches(16))))
        for parameter in learner.model.parameters():
            parameter.add_(parameter.grad, alpha=-0.1)  # type: ignore[arg-type]


class FreezesMidway(Method):
    def after_step(self, learner: Learner) -> None:
        if learner.step == 2:
            learner.model[1].requires_grad_(False)  # type: ignore[index]


@pytest.mark.parametrize("cls", [Rho, KeepsParts, LeftoverGradient, FreezesMidway])
def test_what_a_method_changes_is_restored(registry: Registry, cls: type[Method]) -> None:
    small = task(registry, optimizer="sam")
    laws.interruption_changes_nothing(small, cls)
    laws.counted_cost_equals_real_cost(small, cls, num_classes=10)


class Patched(Method):
    def start(self, learner: Learner) -> None:
        learner.optimizer.step = MethodType(type(learner.optimizer).step, learner.optimizer)  # type: ignore[method-assign]


class GradientHook(Method):
    def start(self, learner: Learner) -> None:
        learner.model[1].weight.register_hook(lambda gradient: 0.5 * gradient)  # type: ignore[index]


class BoundForward(Method):
    def start(self, learner: Learner) -> None:
        learner.model.forward = MethodType(type(learner.model).forward, learner.model)


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (Patched, "Patched sets optimizer.step"),
        (GradientHook, "GradientHook registers or removes hooks of '1'"),
        (BoundForward, "BoundForward changes the function forward of 'Sequential'"),
    ],
)
def test_functions_and_hooks_are_refused(registry: Registry, cls: type[Method], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        trace_interrupted_run(task(registry), cls, every=2)


class FrozenNorm(Net):
    def prepare(self) -> None:
        self.norm = nn.BatchNorm1d(8)
        self.norm.running_mean.fill_(0.3)  # type: ignore[union-attr]

    def train(self, mode: bool = True) -> FrozenNorm:
        super().train(mode)
        self.norm.eval()
        return self

    def middle(self, y: Tensor) -> Tensor:
        return self.norm(y)  # type: ignore[no-any-return]


@pytest.mark.parametrize("policy", ["reset", "reestimate"])
def test_statistics_that_a_model_freezes_stay(registry: Registry, policy: Any) -> None:
    trace = trace_run(task(registry), with_model(registry, "warm", FrozenNorm)(batch_norm=policy))
    assert torch.equal(trace.weights[-1]["norm.running_mean"], torch.full((8,), 0.3))


def test_parameters_in_the_same_memory_are_refused(registry: Registry) -> None:
    class Overlapping(Net):
        def prepare(self) -> None:
            self.slice = nn.Parameter(self.body.weight.data[:, :8])

    class Disjoint(Net):
        def prepare(self) -> None:
            whole = torch.ones(8, 4)
            self.left, self.right = nn.Parameter(whole[:, :2]), nn.Parameter(whole[:, 2:])

    with pytest.raises(RequestError, match=r"is a view of"):
        trace_run(task(registry), with_model(registry, "warm", Overlapping)())
    trace_run(task(registry), with_model(registry, "warm", Disjoint)())


def test_cost_depends_on_plain_attributes_of_a_model(registry: Registry) -> None:
    class Deeper(Net):
        def prepare(self) -> None:
            self.again, self.times = nn.Linear(8, 8), 1

        def middle(self, y: Tensor) -> Tensor:
            for _ in range(self.times):
                y = self.again(y)
            return y

    class Deepens(with_model(registry, "warm", Deeper)):  # type: ignore[misc]
        def before_stage(self, learner: Learner) -> None:
            learner.model.times = 4  # type: ignore[assignment]

    laws.counted_cost_equals_real_cost(task(registry), Deepens, num_classes=10)


def test_a_head_need_not_be_a_linear_layer(registry: Registry) -> None:
    def convolutional() -> nn.Module:
        return nn.Sequential(nn.Conv2d(1, 10, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    laws.counted_cost_equals_real_cost(
        task(registry), with_model(registry, "warm", convolutional), num_classes=10
    )
