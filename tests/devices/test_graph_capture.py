"""Captured steps: what is captured, what is refused, and what is logged."""

from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest
import torch
from support.pairs import some_of
from support.stores import a_spec
from support.tasks import LogRecorder, captured_digits, small_digits
from torch import Tensor, nn

from plastibench.devices import Cpu
from plastibench.devices.graph_capture import CapturedGraph, GraphedStep
from plastibench.plugins.method import Method
from plastibench.plugins.recipe import Recipe
from plastibench.plugins.registry import Registry
from plastibench.plugins.task import Task
from plastibench.runner.events import RunEvent, RunLogged
from plastibench.runner.execute import TrainingReporter
from plastibench.testing import laws
from plastibench.testing.cpu_graphs import CapturingCpu, CpuGraphs, FusedCpu
from plastibench.testing.run_trace import equal_weights, trace_run
from plastibench.training import optimizers
from plastibench.training.learner import Learner


@dataclass(kw_only=True)
class CountsInTensors(Method):
    """Decays weights after each step by an amount that a tensor counts."""

    capturable: ClassVar[bool] = True
    count: Tensor = field(default_factory=lambda: torch.zeros(()), init=False)

    def after_step(self, learner: Learner) -> None:
        self.count += 1
        for weight in learner.model.parameters():
            weight.mul_(1 - 1e-4 * self.count)


@dataclass(kw_only=True)
class BranchesOnTheStep(Method):
    """Wrongly declared capturable: Python branches on the number of the step."""

    capturable: ClassVar[bool] = True

    def loss_term(self, learner: Learner, logits: Tensor, y: Tensor) -> Tensor | float:
        return logits.square().mean() if learner.step % 2 else 0.0


@dataclass(kw_only=True)
class CountsInPython(Method):
    """Wrongly declared capturable: the amount is a Python number."""

    capturable: ClassVar[bool] = True
    count: int = field(default=0, init=False)

    def after_step(self, learner: Learner) -> None:
        self.count += 1
        for weight in learner.model.parameters():
            weight.mul_(1 - 1e-4 * self.count)


@dataclass(kw_only=True)
class ReadsTheRate(Method):
    """Wrongly declared capturable: it reads a tensor on the host."""

    capturable: ClassVar[bool] = True

    def after_step(self, learner: Learner) -> None:
        if float(learner.optimizer.param_groups[0]["lr"]) > 0:
            next(learner.model.parameters()).mul_(0.999)


@dataclass(kw_only=True)
class DrawsOnTheHost(Method):
    """Wrongly declared capturable: it draws on the CPU."""

    capturable: ClassVar[bool] = True

    def after_step(self, learner: Learner) -> None:
        weight = next(learner.model.parameters())
        weight.add_(torch.randn(weight.shape, generator=learner.generator), alpha=1e-3)


@dataclass(kw_only=True)
class RunsOutOfMemory(Method):
    """Allocates more memory than there is while it is captured."""

    capturable: ClassVar[bool] = True
    calls: int = field(default=0, init=False)

    def after_step(self, learner: Learner) -> None:
        self.calls += 1
        torch.ones(2**48 if self.calls == 2 else 1, dtype=torch.uint8)


@dataclass(kw_only=True)
class WithDropout(Method):
    """Trains a model with dropout."""

    def build(self, task: Task) -> nn.Module:
        return nn.Sequential(nn.Dropout(0.2), task.model())


@dataclass(kw_only=True)
class Undeclared(BranchesOnTheStep):
    """Rightly not declared capturable."""

    capturable: ClassVar[bool] = False


def test_a_hook_that_keeps_its_numbers_in_tensors_can_be_captured(registry: Registry) -> None:
    laws.captured_steps_equal_eager_steps(captured_digits(registry), CountsInTensors)


@pytest.mark.heavy
def test_dropout_draws_again_at_every_replay(registry: Registry) -> None:
    task = captured_digits(registry)
    laws.captured_steps_equal_eager_steps(task, WithDropout)
    assert not equal_weights(
        trace_run(task, WithDropout(), seed=0).weights, trace_run(task, Method(), seed=0).weights
    )


@pytest.mark.parametrize("cls", [BranchesOnTheStep, CountsInPython])
@pytest.mark.heavy
def test_the_law_catches_decisions_of_python(registry: Registry, cls: type[Method]) -> None:
    with pytest.raises(AssertionError, match="differs when replayed"):
        laws.captured_steps_equal_eager_steps(captured_digits(registry), cls)


@pytest.mark.parametrize(("cls", "why"), [(ReadsTheRate, "host wait"), (DrawsOnTheHost, "on the host")])
@pytest.mark.heavy
def test_the_law_catches_what_cannot_be_captured(registry: Registry, cls: type[Method], why: str) -> None:
    with pytest.raises(AssertionError, match=f"cannot be captured: .*{why}"):
        laws.captured_steps_equal_eager_steps(captured_digits(registry), cls)


@pytest.mark.heavy
def test_a_learning_rate_that_is_no_tensor_is_frozen_by_the_capture(registry: Registry) -> None:
    class PlainRate(CapturingCpu):
        def make_lr(self, lr: float) -> float | Tensor:
            return lr

    task = captured_digits(registry)
    found = trace_run(task, Method(), device=PlainRate())
    assert not equal_weights(found.weights, trace_run(task, Method()).weights)


@pytest.mark.heavy
def test_a_method_that_is_not_declared_capturable_runs_eagerly_and_logs_it(registry: Registry) -> None:
    device, callback, task = CapturingCpu(), LogRecorder(), captured_digits(registry)
    found = trace_run(task, Undeclared(), device=device, callback=callback)
    assert device.capturer.num_captured == 0
    assert set(callback.messages) == {
        "Undeclared does not declare its hooks capturable: each step is run eagerly"
    }
    assert equal_weights(found.weights, trace_run(task, Undeclared(), device=FusedCpu()).weights)


def test_a_message_is_logged_once_per_run() -> None:
    events: list[RunEvent] = []
    reporter = TrainingReporter(a_spec(), events.append)
    for _ in range(3):
        reporter.on_log("not captured")
    assert events == [RunLogged(a_spec(), "not captured")]


def test_steps_that_cannot_be_captured_run_eagerly_and_the_run_tries_once(registry: Registry) -> None:
    device, callback, task = CapturingCpu(), LogRecorder(), captured_digits(registry, optimizer="sgd")
    trace_run(task, ReadsTheRate(), device=device, callback=callback)
    assert device.capturer.num_replayed == 0
    assert len(device.capturer.failures) == 1, "the stages after the first do not try again"
    assert "steps cannot be captured, so each one is run eagerly: RuntimeError" in callback.messages[0]


class FailingCapturer(CpuGraphs):
    """Fails as CUDA does: an error inside the capture is followed by another one that ends it."""

    def __init__(self, error: type[Exception], message: str) -> None:
        super().__init__()
        self.error, self.message = error, message
        self.memory: weakref.ref[nn.Module]

    def capture(self, work: Callable[[], None]) -> Callable[[], None]:
        graph = nn.Identity()  # what the frame of a capture holds
        self.memory = weakref.ref(graph)
        try:
            raise self.error(self.message)
        except Exception:
            raise RuntimeError("operation failed due to a previous error during capture")  # noqa: B904


def test_a_failed_capture_is_freed_before_the_step_runs_eagerly() -> None:
    capturer, batch = FailingCapturer(RuntimeError, "not permitted"), (torch.zeros(2), torch.zeros(2))
    graphed, alive = GraphedStep[int](capturer, print), list[bool]()

    def step(x: Tensor, y: Tensor) -> int:
        alive.append(hasattr(capturer, "memory") and capturer.memory() is not None)
        return 1

    assert [graphed(step, *batch) for _ in range(3)] == [1, 1, 1]
    assert alive == [False] * 3


def test_out_of_memory_hidden_by_the_end_of_a_capture_is_reported() -> None:
    capturer = FailingCapturer(torch.OutOfMemoryError, "Tried to allocate 20.00 GiB")
    graphed, batch = GraphedStep[int](capturer, print), (torch.zeros(2), torch.zeros(2))
    graphed(lambda x, y: 1, *batch)
    with pytest.raises(torch.OutOfMemoryError, match=r"20\.00 GiB"):
        graphed(lambda x, y: 1, *batch)


def test_running_out_of_memory_during_a_capture_ends_the_run(registry: Registry) -> None:
    with pytest.raises(RuntimeError, match="tried to allocate"):
        trace_run(captured_digits(registry), RunsOutOfMemory(), device=CapturingCpu())


def test_every_stage_captures_each_batch_shape_once(registry: Registry) -> None:
    device, task = CapturingCpu(), captured_digits(registry)
    results = trace_run(task, Method(), device=device).results
    sizes = [{min(32, left) for left in range(result.num_train, 0, -32)} for result in results]
    assert [len(found) for found in sizes] == [2, 2, 2]
    assert device.capturer.num_captured == sum(map(len, sizes))
    # One eager step and one captured step per shape; all others are replayed.
    steps = sum(result.cost.steps for result in results)
    assert device.capturer.num_replayed == steps - 2 * device.capturer.num_captured


@pytest.mark.heavy
def test_no_captured_graph_outlives_its_stage(registry: Registry) -> None:
    gc.collect()
    gc.disable()
    try:
        trace_run(captured_digits(registry), Method(), device=CapturingCpu())
        assert [item for item in gc.get_objects() if type(item) is CapturedGraph] == []
    finally:
        gc.enable()


@pytest.mark.parametrize("optimizer", some_of(["sgd", "sam", "adam", "adamw", "muon"], ("sam", "muon")))
def test_a_run_with_captured_steps_resumes(registry: Registry, optimizer: str) -> None:
    task = captured_digits(registry, optimizer=optimizer)
    laws.interruption_changes_nothing(task, CountsInTensors, every=7, device=CapturingCpu())


@pytest.mark.heavy
def test_fused_optimizers_agree_with_torchs_others(registry: Registry) -> None:
    for optimizer in ("sgd", "adam"):
        task = small_digits(registry, recipe={"optimizer": optimizer})
        usual, fused = trace_run(task, Method()), trace_run(task, Method(), device=FusedCpu())
        for a, b in zip(usual.weights[-1].values(), fused.weights[-1].values(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("name", ["sgd", "sam", "adam"])
def test_a_state_with_plain_numbers_is_loaded_into_a_fused_optimizer(name: Any) -> None:
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
    plain.param_groups[0]["lr"] = 0.05
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


@pytest.mark.heavy
@pytest.mark.parametrize("optimizer", ["sgd", "sam", "adam"])
def test_fused_optimizers_reset_their_state_too(registry: Registry, optimizer: str) -> None:
    cls, task = registry.load("method", "head_reset"), captured_digits(registry, optimizer=optimizer)
    capturing, fused = CapturingCpu(), FusedCpu()
    replayed, eager = (
        trace_run(task, cls(optimizer_state="clear_touched"), device=device) for device in (capturing, fused)
    )
    assert capturing.capturer.num_replayed
    assert equal_weights(replayed.weights, eager.weights)
    assert not equal_weights(
        eager.weights, trace_run(task, cls(optimizer_state="keep"), device=fused).weights
    )


@pytest.mark.parametrize("name", ["sgd", "sam", "adam", "adamw"])
@pytest.mark.parametrize("device", [Cpu, FusedCpu])
def test_a_step_after_a_reset_is_a_first_step(registry: Registry, name: str, device: type[Cpu]) -> None:
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
