"""Mistakes that remedies are made with, each found by a law on the very tasks that `tests/methods` uses."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import pytest
import torch
from support.tasks import CAPTURED, few_digits
from torch import Tensor, nn

from plastibench.errors import RequestError
from plastibench.plugins.method import Method
from plastibench.plugins.registry import Registry
from plastibench.plugins.task import Task
from plastibench.testing import laws
from plastibench.training.learner import Learner

HIDDEN: WeakKeyDictionary[nn.Module, Any] = WeakKeyDictionary()
"""State where no checkpoint finds it."""
CALLS = itertools.count()


def nudge(learner: Learner, by: float = 1e-3) -> None:
    next(learner.model.parameters()).mul_(1 - by)


@dataclass(kw_only=True)
class DrawsAtTheStart(Method):
    def start(self, learner: Learner) -> None:
        nudge(learner, float(torch.rand(())))


@dataclass(kw_only=True)
class DrawsFromNowhere(Method):
    def after_step(self, learner: Learner) -> None:
        stream = torch.Generator()
        stream.seed()
        nudge(learner, float(torch.rand((), generator=stream)))


@dataclass(kw_only=True)
class CountsForTheWholeProcess(Method):
    def before_stage(self, learner: Learner) -> None:
        nudge(learner, 1e-3 * next(CALLS))


@dataclass(kw_only=True)
class RemembersTheLastStep(Method):
    def after_step(self, learner: Learner) -> None:
        nudge(learner, HIDDEN.get(learner.model, 0.0))
        HIDDEN[learner.model] = 1e-3


@dataclass(kw_only=True)
class RemembersTheFirstStage(Method):
    def after_stage(self, learner: Learner) -> None:
        HIDDEN.setdefault(learner.model, copy.deepcopy(learner.model.state_dict()))

    def before_stage(self, learner: Learner) -> None:
        if learner.stage.index == 2 and learner.model in HIDDEN:
            learner.model.load_state_dict(HIDDEN[learner.model])


@dataclass(kw_only=True)
class ActsEveryFiveSteps(Method):
    def after_step(self, learner: Learner) -> None:
        HIDDEN[learner.model] = HIDDEN.get(learner.model, 0) + 1
        nudge(learner, 0.1 if HIDDEN[learner.model] % 5 == 0 else 0.0)


@dataclass(kw_only=True)
class RemembersConvolutions(Method):
    def after_step(self, learner: Learner) -> None:
        for layer in learner.model.modules():
            if isinstance(layer, nn.Conv2d):
                HIDDEN[layer] = HIDDEN.get(layer, 0) + 1
                layer.weight.mul_(1 - 1e-3 * HIDDEN[layer])


@dataclass(kw_only=True)
class KeepsMomentumOfItsOwn(Method):
    def after_step(self, learner: Learner) -> None:
        for parameter in learner.model.parameters():
            assert parameter.grad is not None
            old = self.__dict__.setdefault("momentum", {}).get(parameter, 0.0)
            self.momentum: dict[Tensor, Any]
            self.momentum[parameter] = 0.9 * old + parameter.grad
            parameter.sub_(0.01 * self.momentum[parameter])


@dataclass(kw_only=True)
class HidesMomentumInTheOptimizer(Method):
    def after_step(self, learner: Learner) -> None:
        parameter, hidden = next(learner.model.parameters()), vars(learner.optimizer)
        hidden["slow"] = 0.9 * hidden.get("slow", 0.0) + parameter.norm()
        parameter.mul_(1 - 1e-3 * hidden["slow"])


class Labeled(Tensor):
    """A tensor of a class that no checkpoint may hold."""


@dataclass(kw_only=True)
class KeepsWhatNoFileHolds(Method):
    mean: Tensor | None = field(default=None, init=False)

    def after_step(self, learner: Learner) -> None:
        self.mean = next(learner.model.parameters()).detach().clone().as_subclass(Labeled)


@dataclass(kw_only=True)
class PassesForFree(Method):
    def before_stage(self, learner: Learner) -> None:
        if learner.stage.index == 2:
            x, y = next(iter(learner.stage.train.batches(2)))
            with torch.enable_grad():
                learner.loss(learner.model(x), y).backward()
            learner.model.zero_grad()


@dataclass(kw_only=True)
class CountsOneExampleTooMany(Method):
    def before_stage(self, learner: Learner) -> None:
        x, y = next(iter(learner.stage.train.batches(4)))
        learner.backward(learner.model, x, y)
        learner.cost.remedy_passes += 1


@dataclass(kw_only=True)
class MultipliesForFree(Method):
    def after_step(self, learner: Learner) -> None:
        weight = learner.head.weight
        weight.add_(1e-9 * weight @ weight.T @ weight)


@dataclass(kw_only=True)
class FreezesItsCounter(Method):
    capturable: ClassVar[bool] = True
    steps: int = field(default=0, init=False)

    def after_step(self, learner: Learner) -> None:
        self.steps += 1
        nudge(learner, 1e-3 * self.steps)


@dataclass(kw_only=True)
class FreezesTheLearningRate(Method):
    capturable: ClassVar[bool] = True

    def after_step(self, learner: Learner) -> None:
        nudge(learner, 1e-3 * HIDDEN.setdefault(learner.model, 0.0))
        HIDDEN[learner.model] = learner.step


@dataclass(kw_only=True)
class WaitsInAStep(Method):
    capturable: ClassVar[bool] = True

    def after_step(self, learner: Learner) -> None:
        nudge(learner, 1e-3 * learner.head.weight.norm().item())


@dataclass(kw_only=True)
class DrawsInACapturedStep(Method):
    capturable: ClassVar[bool] = True

    def after_step(self, learner: Learner) -> None:
        next(learner.model.parameters()).mul_(1 - 1e-3 * torch.rand((), generator=learner.generator))


@dataclass(kw_only=True)
class DoesNothing(Method):
    def before_stage(self, learner: Learner) -> None:
        next(learner.model.parameters()).mul_(1.0)


@dataclass(kw_only=True)
class IsNeverOff(Method):
    strength: float = 0.1

    disabled: ClassVar[dict[str, Any]] = {"strength": 0.0}

    def loss_term(self, learner: Learner, logits: Tensor, y: Tensor) -> Tensor:
        return self.strength * logits.square().mean() + 1e-6 * logits.square().mean()


@dataclass(kw_only=True)
class DrawsWhenItIsOff(Method):
    noise: float = 0.1

    disabled: ClassVar[dict[str, Any]] = {"noise": 0.0}

    def before_stage(self, learner: Learner) -> None:
        weight = next(learner.model.parameters())
        weight.mul_(1 - 1e-7).add_(self.noise * torch.randn(weight.shape, generator=learner.generator))


@dataclass(kw_only=True)
class EvaluatesInPlace(Method):
    def evaluated(self, learner: Learner) -> nn.Module:
        with torch.no_grad():
            nudge(learner)
        return learner.model


@dataclass(kw_only=True)
class DrawsWhenItIsEvaluated(Method):
    def evaluated(self, learner: Learner) -> nn.Module:
        torch.rand((), generator=learner.generator)
        return learner.model


@dataclass(kw_only=True)
class RulesTheFirstStage(Method):
    def after_stage(self, learner: Learner) -> None:
        with torch.no_grad():
            nudge(learner)


def disabled(task: Task, cls: type[Method]) -> None:
    laws.disabled_method_equals_warm_start(task, cls)


def active(task: Task, cls: type[Method]) -> None:
    laws.active_method_differs_from_warm_start(task, cls)


def cost(task: Task, cls: type[Method]) -> None:
    laws.counted_cost_equals_real_cost(task, cls, num_classes=10)


CAUGHT: dict[type[Method], tuple[Callable[..., None], str]] = {
    DrawsAtTheStart: (laws.global_random_state_is_ignored, "depends on torch's global generator"),
    DrawsFromNowhere: (laws.same_seed_gives_same_result, "with the same seed: weights differ"),
    CountsForTheWholeProcess: (laws.same_seed_gives_same_result, "with the same seed: weights differ"),
    RemembersTheLastStep: (laws.interruption_changes_nothing, "whole and resumed runs"),
    RemembersTheFirstStage: (laws.interruption_changes_nothing, "whole and resumed runs"),
    ActsEveryFiveSteps: (laws.interruption_changes_nothing, "whole and resumed runs"),
    KeepsMomentumOfItsOwn: (laws.interruption_changes_nothing, "momentum"),
    HidesMomentumInTheOptimizer: (laws.interruption_changes_nothing, r"sets optimizer\.slow"),
    KeepsWhatNoFileHolds: (laws.state_survives_checkpointing, "cannot be read back"),
    PassesForFree: (cost, "counted and real cost"),
    CountsOneExampleTooMany: (cost, "counted and real cost"),
    MultipliesForFree: (cost, r"\['FLOPs'\]"),
    FreezesItsCounter: (laws.captured_steps_equal_eager_steps, "differs when replayed"),
    FreezesTheLearningRate: (laws.captured_steps_equal_eager_steps, "differs when replayed"),
    WaitsInAStep: (laws.captured_steps_equal_eager_steps, "cannot be captured"),
    DrawsInACapturedStep: (laws.captured_steps_equal_eager_steps, "cannot be captured"),
    DoesNothing: (active, "it does nothing within"),
    IsNeverOff: (disabled, "differs from a run without remedy"),
    DrawsWhenItIsOff: (disabled, "differs from a run without remedy"),
    EvaluatesInPlace: (laws.evaluation_changes_nothing, "before and after an evaluation"),
    DrawsWhenItIsEvaluated: (laws.evaluation_changes_nothing, "before and after an evaluation"),
    RulesTheFirstStage: (laws.first_stage_equals_warm_start, "the first stage of"),
}


@pytest.mark.parametrize("cls", CAUGHT, ids=lambda cls: cls.__name__)
def test_a_law_finds_the_mistake(registry: Registry, cls: type[Method]) -> None:
    law, message = CAUGHT[cls]
    recipe = CAPTURED if law is laws.captured_steps_equal_eager_steps else {}
    with pytest.raises((AssertionError, RequestError), match=message):
        law(few_digits(registry, **recipe), cls)


@pytest.mark.parametrize("cls", [RemembersTheLastStep, RemembersTheFirstStage, ActsEveryFiveSteps])
def test_hidden_state_is_found_by_an_interruption_after_every_second_step(
    registry: Registry, cls: type[Method]
) -> None:
    with pytest.raises(AssertionError, match="whole and resumed runs"):
        laws.interruption_changes_nothing(few_digits(registry, max_epochs=1), cls, every=2)


@pytest.mark.heavy
def test_hidden_state_of_convolutions_is_found_on_a_residual_network(registry: Registry) -> None:
    laws.interruption_changes_nothing(few_digits(registry), RemembersConvolutions)
    task = few_digits(registry, "small_resnet", max_stages=2)
    with pytest.raises(AssertionError, match="whole and resumed runs"):
        laws.interruption_changes_nothing(task, RemembersConvolutions, every=2)
