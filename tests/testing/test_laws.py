"""The laws catch methods that break them, and say what differs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal
from weakref import WeakKeyDictionary

import pytest
import torch
from support.tasks import small_digits
from torch import nn

from plastibench.plugins.method import Method
from plastibench.plugins.registry import Registry
from plastibench.plugins.task import Task
from plastibench.testing import laws
from plastibench.testing.variants import variants
from plastibench.training.learner import Learner

STEPS: WeakKeyDictionary[nn.Module, int] = WeakKeyDictionary()


@dataclass(kw_only=True)
class ForgetsUnderOneSetting(Method):
    """Keeps a count where no checkpoint finds it, under a setting that is not the default."""

    scale: Literal["constant", "growing"] = "constant"

    presets: ClassVar[dict[str, Any]] = {"steady": {"scale": "constant"}}

    def after_step(self, learner: Learner) -> None:
        if self.scale == "growing":
            STEPS[learner.model] = STEPS.get(learner.model, 0) + 1
        next(learner.model.parameters()).mul_(1 - 1e-3 * STEPS.get(learner.model, 1))


@dataclass(kw_only=True)
class Slow(Method):
    """Acts on a rare occasion, and then at random."""

    interval: int = 1000
    steps: int = field(default=0, init=False)

    def after_step(self, learner: Learner) -> None:
        self.steps += 1
        if self.steps % self.interval == 0:
            stream = torch.Generator()
            stream.seed()
            next(learner.model.parameters()).add_(torch.randn((), generator=stream))


@dataclass(kw_only=True)
class SlowWithActive(Slow):
    """The same, and it says when it acts."""

    active: ClassVar[dict[str, Any]] = {"interval": 3}


@dataclass(kw_only=True)
class Traces(Method):
    """Builds its model with torch.fx."""

    def build(self, task: Task) -> nn.Module:
        return torch.fx.symbolic_trace(task.model())


@pytest.fixture
def small(registry: Registry) -> Task:
    return small_digits(registry, "mlp_bn", recipe={"max_epochs": 1}, max_stages=2)


def test_state_under_a_setting_that_is_not_the_default_is_seen(small: Task) -> None:
    makers = variants(ForgetsUnderOneSetting)
    assert list(makers) == ["defaults", "scale=growing"]
    laws.interruption_changes_nothing(small, makers["defaults"])
    with pytest.raises(
        AssertionError, match=r"whole and resumed runs of ForgetsUnder\w+: weights differ at \[0\]"
    ):
        laws.interruption_changes_nothing(small, makers["scale=growing"])


def test_a_method_that_does_not_act_within_a_law_is_named(small: Task) -> None:
    with pytest.raises(AssertionError, match=r"it does nothing within .* Declare `active`"):
        laws.active_method_differs_from_warm_start(small, Slow)
    laws.same_seed_gives_same_result(small, Slow)  # it holds, for nothing was tried
    laws.active_method_differs_from_warm_start(small, SlowWithActive)
    with pytest.raises(
        AssertionError, match=r"two runs of SlowWithActive with the same seed: weights differ"
    ):
        laws.same_seed_gives_same_result(small, variants(SlowWithActive)["active"])


def test_a_model_that_torch_fx_traces_can_be_counted(small: Task) -> None:
    laws.counted_cost_equals_real_cost(small, Traces, num_classes=10)


def test_every_law_says_what_it_found(small: Task) -> None:
    @dataclass(kw_only=True)
    class Wrong(Method):
        disabled: ClassVar[dict[str, Any]] = {}

        def before_stage(self, learner: Learner) -> None:
            for parameter in learner.model.parameters():
                parameter.mul_(0.5)

    with pytest.raises(
        AssertionError, match=r"Wrong with \{\} differs from a run without remedy: weights differ at \[1\]"
    ):
        laws.disabled_method_equals_warm_start(small, Wrong)
    with pytest.raises(AssertionError, match=r"Traces acts within stages"):
        laws.first_stage_equals_warm_start(small, Traces)
    with pytest.raises(AssertionError, match="Slow has no `disabled`"):
        laws.disabled_method_equals_warm_start(small, Slow)


def test_an_instance_keeps_nothing_of_a_run(small: Task) -> None:
    method = SlowWithActive(interval=2)
    laws.state_survives_checkpointing(small, lambda: method)
    assert method.steps == 0
