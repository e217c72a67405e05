"""Steps that are recorded and replayed: what is recorded, what is refused, and who is told."""

from __future__ import annotations

import copy
import gc
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest
import torch
from support.stores import a_spec
from support.tasks import Listening, captured_digits, small_digits
from torch import Tensor, nn

from plastibench.devices import Cpu
from plastibench.devices.graph_capture import CapturedGraph
from plastibench.plugins.method import Method
from plastibench.plugins.recipe import Recipe
from plastibench.plugins.registry import Registry
from plastibench.plugins.task import Task
from plastibench.runner.events import RunEvent, RunLogged
from plastibench.runner.execute import TrainingReporter
from plastibench.testing import laws
from plastibench.testing.cpu_graphs import CapturingCpu, FusedCpu
from plastibench.testing.run_trace import equal_weights, trace_run
from plastibench.training import optimizers
from plastibench.training.learner import Learner


@dataclass(kw_only=True)
class Honest(Method):
    """Decays weights after each step by a share that a tensor counts."""

    capturable: ClassVar[bool] = True
    count: Tensor = field(default_factory=lambda: torch.zeros(()), init=False)

    def after_step(self, learner: Learner) -> None:
        self.count += 1
        for weight in learner.model.parameters():
            weight.mul_(1 - 1e-4 * self.count)


@dataclass(kw_only=True)
class BranchesOnTheStep(Method):
    """Says that it can be recorded, and cannot: Python decides by the number of the step."""

    capturable: ClassVar[bool] = True

    def loss_term(self, learner: Learner, logits: Tensor, y: Tensor) -> Tensor | float:
        return logits.square().mean() if learner.step % 2 else 0.0


@dataclass(kw_only=True)
class CountsInPython(Method):
    """Says that it can be recorded, and cannot: the share is a number of Python's."""

    capturable: ClassVar[bool] = True
    count: int = field(default=0, init=False)

    def after_step(self, learner: Learner) -> None:
        self.count += 1
        for weight in learner.model.parameters():
            weight.mul_(1 - 1e-4 * self.count)


@dataclass(kw_only=True)
class ReadsTheRate(Method):
    """Says that it can be recorded, and cannot: it reads a tensor on the host."""

    capturable: ClassVar[bool] = True

    def after_step(self, learner: Learner) -> None:
        if float(learner.optimizer.param_groups[0]["lr"]) > 0:
            next(learner.model.parameters()).mul_(0.999)


@dataclass(kw_only=True)
class DrawsOnTheHost(Method):
    """Says that it can be recorded, and cannot: its noise comes from the CPU."""

    capturable: ClassVar[bool] = True

    def after_step(self, learner: Learner) -> None:
        weight = next(learner.model.parameters())
        weight.add_(torch.randn(weight.shape, generator=learner.generator), alpha=1e-3)


@dataclass(kw_only=True)
class AsksForTooMuch(Method):
    """Wants more memory than there is once it is recorded."""

    capturable: ClassVar[bool] = True
    calls: int = field(default=0, init=False)

    def after_step(self, learner: Learner) -> None:
        self.calls += 1
        torch.ones(2**48 if self.calls == 2 else 1, dtype=torch.uint8)


@dataclass(kw_only=True)
class Drops(Method):
    """Trains a model with a layer that draws."""

    def build(self, task: Task) -> nn.Module:
        return nn.Sequential(nn.Dropout(0.2), task.model())


@dataclass(kw_only=True)
class SaysNothing(BranchesOnTheStep):
    """Is right not to say that it can be recorded."""

    capturable: ClassVar[bool] = False


def test_a_hook_that_keeps_its_numbers_in_tensors_can_be_recorded(registry: Registry) -> None:
    laws.captured_steps_equal_eager_steps(captured_digits(registry), Honest)


def test_a_layer_that_draws_draws_anew_at_every_replay(registry: Registry) -> None:
    task = captured_digits(registry)
    laws.captured_steps_equal_eager_steps(task, Drops)
    assert not equal_weights(
        trace_run(task, Drops(), seed=0).weights, trace_run(task, Method(), seed=0).weights
    )


@pytest.mark.parametrize("kind", [BranchesOnTheStep, CountsInPython])
def test_the_law_catches_what_python_decides(registry: Registry, kind: type[Method]) -> None:
    with pytest.raises(AssertionError, match="differs when replayed"):
        laws.captured_steps_equal_eager_steps(captured_digits(registry), kind)


@pytest.mark.parametrize(("kind", "why"), [(ReadsTheRate, "host wait"), (DrawsOnTheHost, "on the host")])
def test_the_law_catches_what_no_capture_allows(registry: Registry, kind: type[Method], why: str) -> None:
    with pytest.raises(AssertionError, match=f"cannot be recorded: .*{why}"):
        laws.captured_steps_equal_eager_steps(captured_digits(registry), kind)


def test_a_rate_that_is_no_tensor_is_frozen_in_a_recording(registry: Registry) -> None:
    class Forgetful(CapturingCpu):
        def make_lr(self, rate: float) -> float | Tensor:
            return rate

    task = captured_digits(registry)
    found = trace_run(task, Method(), device=Forgetful())
    assert not equal_weights(found.weights, trace_run(task, Method()).weights)


def test_a_method_that_does_not_declare_it_is_not_recorded_and_the_run_says_so(registry: Registry) -> None:
    taping, callback, task = CapturingCpu(), Listening(), captured_digits(registry)
    found = trace_run(task, SaysNothing(), device=taping, callback=callback)
    assert taping.capturer.num_captured == 0
    assert set(callback.said) == {
        "SaysNothing does not declare its hooks capturable: each step is taken anew, none is replayed"
    }
    assert equal_weights(found.weights, trace_run(task, SaysNothing(), device=FusedCpu()).weights)


def test_a_run_says_a_thing_once_however_many_stages_it_has() -> None:
    events: list[RunEvent] = []
    reporter = TrainingReporter(a_spec(), events.append)
    for _ in range(3):
        reporter.on_log("not recorded")
    assert events == [RunLogged(a_spec(), "not recorded")]


def test_what_cannot_be_recorded_is_done_by_python_and_the_run_says_so(registry: Registry) -> None:
    taping, callback, task = CapturingCpu(), Listening(), captured_digits(registry, optimizer="sgd")
    trace_run(task, ReadsTheRate(), device=taping, callback=callback)
    assert taping.capturer.num_replayed == 0
    assert "cannot be recorded and replayed, each is taken anew: RuntimeError" in callback.said[0]


def test_a_recording_that_memory_does_not_suffice_for_ends_the_run(registry: Registry) -> None:
    with pytest.raises(RuntimeError, match="tried to allocate"):
        trace_run(captured_digits(registry), AsksForTooMuch(), device=CapturingCpu())


def test_every_stage_records_each_shape_of_batch_once(registry: Registry) -> None:
    taping, task = CapturingCpu(), captured_digits(registry)
    results = trace_run(task, Method(), device=taping).results
    sizes = [{min(32, left) for left in range(result.num_train, 0, -32)} for result in results]
    assert [len(found) for found in sizes] == [2, 2, 2]
    assert taping.capturer.num_captured == sum(map(len, sizes))
    # One step by Python and one recorded for each; all others are replayed.
    steps = sum(result.cost.steps for result in results)
    assert taping.capturer.num_replayed == steps - 2 * taping.capturer.num_captured


def test_nothing_that_was_recorded_outlives_its_stage(registry: Registry) -> None:
    gc.collect()
    gc.disable()
    try:
        trace_run(captured_digits(registry), Method(), device=CapturingCpu())
        assert [thing for thing in gc.get_objects() if type(thing) is CapturedGraph] == []
    finally:
        gc.enable()


@pytest.mark.parametrize("optimizer", ["sgd", "sam", "adam", "adamw"])
def test_a_recording_run_goes_on_where_it_stopped(registry: Registry, optimizer: str) -> None:
    task = captured_digits(registry, optimizer=optimizer)
    laws.interruption_changes_nothing(task, Honest, every=7, device=CapturingCpu())


def test_fused_optimizers_round_like_torchs_others(registry: Registry) -> None:
    for optimizer in ("sgd", "adam"):
        task = small_digits(registry, recipe={"optimizer": optimizer})
        usual, fused = trace_run(task, Method()), trace_run(task, Method(), device=FusedCpu())
        for one, other in zip(usual.weights[-1].values(), fused.weights[-1].values(), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("name", ["sgd", "sam", "adam"])
def test_a_state_kept_with_plain_numbers_is_loaded_into_a_fused_optimizer(name: Any) -> None:
    recipe = Recipe(optimizer=name, learning_rate=0.1)
    weights = [torch.ones(3, requires_grad=True)]

    def stepped(optimizer: torch.optim.Optimizer) -> Tensor:
        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = weights[0].square().sum()
            loss.backward()
            return loss

        optimizer.step(closure)  # type: ignore[arg-type]
        return weights[0].detach().clone()

    plain = optimizers.build_optimizer(recipe, weights)
    optimizers.set_learning_rate(plain, 0.05)
    stepped(plain)
    rate = torch.tensor(0.1)
    fused = optimizers.build_optimizer(recipe, weights, rate)
    optimizers.load_optimizer_state(fused, copy.deepcopy(plain.state_dict()))
    assert fused.param_groups[0]["lr"] is rate
    assert float(rate) == pytest.approx(0.05)
    assert fused.param_groups[0]["fused"]
    before = weights[0].detach().clone()
    one = stepped(fused)
    with torch.no_grad():
        weights[0].copy_(before)
    torch.testing.assert_close(one, stepped(plain))


@pytest.mark.parametrize("optimizer", ["sgd", "sam", "adam"])
def test_what_is_forgotten_is_forgotten_by_fused_optimizers_too(registry: Registry, optimizer: str) -> None:
    kind, task = registry.load("method", "head_reset"), captured_digits(registry, optimizer=optimizer)
    taping, twin = CapturingCpu(), FusedCpu()
    replayed, taken = (
        trace_run(task, kind(optimizer_state="clear_touched"), device=device) for device in (taping, twin)
    )
    assert taping.capturer.num_replayed
    assert equal_weights(replayed.weights, taken.weights)
    assert not equal_weights(
        taken.weights, trace_run(task, kind(optimizer_state="keep"), device=twin).weights
    )


@pytest.mark.parametrize("name", ["sgd", "sam", "adam", "adamw"])
@pytest.mark.parametrize("device", [Cpu, FusedCpu])
def test_a_step_after_forgetting_is_a_first_step(registry: Registry, name: str, device: type[Cpu]) -> None:
    learner = Learner(captured_digits(registry, optimizer=name), Method(), 0, device())
    start = [w.detach().clone() for w in learner.model.parameters()]
    moved = []
    for _ in range(2):
        with torch.no_grad():
            for weight, before in zip(learner.model.parameters(), start, strict=True):
                weight.copy_(before)

        def closure() -> Tensor:
            learner.optimizer.zero_grad()
            loss = torch.stack([w.square().sum() for w in learner.model.parameters()]).sum()
            loss.backward()
            return loss

        learner.optimizer.step(closure)  # type: ignore[arg-type]
        moved.append([w.detach().clone() for w in learner.model.parameters()])
        learner.reset_optimizer_state(learner.model.parameters())
    assert all(torch.equal(a, b) for a, b in zip(*moved, strict=True))
