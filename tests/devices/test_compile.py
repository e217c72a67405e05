"""Compiled passes: the same bits, few graphs, and an unchanged model.

The compiler stands in for Gaudi's: it is registered under that name and built on AOTAutograd too, counts
graphs and computes them operation by operation on the CPU.
"""

from __future__ import annotations

import gc
import weakref
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import torch
from support.tasks import LogRecorder, small_digits
from torch import Tensor, nn
from torch._dynamo.backends.common import aot_autograd
from torch._dynamo.backends.debugging import boxed_nop

from plastibench.devices import Cpu, Hpu
from plastibench.devices.compile import CompiledForward
from plastibench.plugins.method import Method
from plastibench.plugins.registry import Registry
from plastibench.plugins.task import Task
from plastibench.runner.provenance import provenance
from plastibench.testing import laws
from plastibench.testing.run_trace import equal_weights, trace_run
from plastibench.training.learner import Learner

COMPILED: list[tuple[int, bool]] = []
"""The batch size of each compiled graph, and whether it is for training."""


def count(graph: torch.fx.GraphModule, inputs: list[Any]) -> Any:
    images = next(item for item in inputs if isinstance(item, Tensor) and not isinstance(item, nn.Parameter))
    COMPILED.append((len(images), torch.is_grad_enabled()))
    assert not any(isinstance(item, torch.SymInt) for item in inputs), "a shape is not static"
    return aot_autograd(fw_compiler=boxed_nop)(graph, inputs)


class Plain(Cpu):
    """The CPU with the memory format used on Gaudi: another one rounds differently."""

    def memory_format(self, model: nn.Module) -> torch.memory_format:
        return torch.contiguous_format


class Compiling(Plain):
    """The same, with the compiler of a Gaudi card."""

    def compile_backend(self) -> str | None:
        return Hpu().compile_backend()


@dataclass(kw_only=True)
class CountsInPython(Method):
    """Cannot be captured: Python branches on the number of the step."""

    def loss_term(self, learner: Learner, logits: Tensor, y: Tensor) -> Tensor | float:
        return logits.square().mean() if learner.step % 2 else 0.0

    def after_step(self, learner: Learner) -> None:
        for weight in learner.model.parameters():
            weight.mul_(1 - 1e-4 * (learner.step % 3))


@pytest.fixture(autouse=True)
def compile_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PT_HPU_LAZY_MODE", "0")
    if "hpu_backend" not in torch.compiler.list_backends():
        torch._dynamo.register_backend(count, name="hpu_backend")
    torch.compiler.reset()
    COMPILED.clear()


def digits(registry: Registry, optimizer: str = "sgd", model: str = "mlp_bn", **recipe: Any) -> Task:
    """Return three stages whose last batches are smaller than all others, each of another size."""
    shaped = {"optimizer": optimizer, "batch_size": 24, "test_batch_size": 100, **recipe}
    return small_digits(registry, model, recipe=shaped)


def assert_same_bits(task: Task, cls: type[Method]) -> None:
    compiled, plain = trace_run(task, cls(), device=Compiling()), trace_run(task, cls(), device=Plain())
    assert equal_weights(compiled.weights, plain.weights), cls.__name__
    assert compiled.rows() == plain.rows(), cls.__name__


def test_provenance_names_the_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    assert provenance(Compiling())["compiler"] == "hpu_backend"
    assert provenance(Plain())["compiler"] is None
    monkeypatch.setattr(Compiling, "compile_backend", lambda _: "unregistered")
    assert provenance(Compiling())["compiler"] is None, "torch does not have it: nothing is compiled"


@pytest.mark.heavy
@pytest.mark.parametrize("optimizer", ["sgd", "sam"])
def test_methods_on_the_same_layers_share_what_was_compiled(registry: Registry, optimizer: str) -> None:
    task = digits(registry, optimizer)
    for name in ("cold", "warm", "l2_init", "dash"):
        assert_same_bits(task, registry.load("method", name))
    assert sorted(COMPILED) == [(24, True), (100, False)]


@pytest.mark.heavy
def test_passes_that_are_watched_are_computed_eagerly_and_others_compiled(registry: Registry) -> None:
    redo = partial(registry.load("method", "redo"), threshold=0.9, period=2)
    task = digits(registry)
    compiled, plain = (trace_run(task, redo(), device=device) for device in (Compiling(), Plain()))
    assert equal_weights(compiled.weights, plain.weights)
    assert sum(row["log.units_recycled"] for row in plain.rows()) > 0
    assert sorted(COMPILED) == [(24, True), (100, False)]


@pytest.mark.heavy
@pytest.mark.parametrize("third", [0, *(pytest.param(third, marks=pytest.mark.slow) for third in (1, 2))])
def test_every_method_gives_the_bits_of_eager_passes(registry: Registry, third: int) -> None:
    task = digits(registry)
    for name in registry.names("method")[third::3]:
        cls = registry.load("method", name)
        if cls().unsupported(task) is None:
            assert_same_bits(task, cls)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_convolutions_are_one_graph_and_give_the_same_bits(registry: Registry, precision: str) -> None:
    assert_same_bits(
        digits(registry, "sam", "small_resnet", precision=precision), registry.load("method", "cold")
    )
    assert sorted(COMPILED) == [(24, True), (100, False)]


@pytest.mark.heavy
def test_a_second_pass_with_frozen_statistics_is_one_more_graph(registry: Registry) -> None:
    assert_same_bits(digits(registry, "sam", sam_statistics="first"), registry.load("method", "warm"))
    assert sorted(COMPILED) == [(24, True), (24, True), (100, False)]


def test_hooks_run_eagerly_so_python_may_branch_in_them(registry: Registry) -> None:
    assert_same_bits(digits(registry), CountsInPython)


@pytest.mark.heavy
def test_runs_resume_and_their_weights_keep_the_names_of_the_model(registry: Registry) -> None:
    task = digits(registry)
    laws.interruption_changes_nothing(task, registry.load("method", "dash"), 5, Compiling())
    assert trace_run(task, Method(), device=Compiling()).weights[0].keys() == task.model().state_dict().keys()
    assert len(COMPILED) == 2


@pytest.mark.heavy
def test_no_model_outlives_its_stage(registry: Registry) -> None:
    cls, models = registry.load("method", "cold"), []

    class Watched(cls):  # type: ignore[valid-type, misc]
        def after_stage(self, learner: Learner) -> None:
            models.append(weakref.ref(learner.model))

    trace_run(digits(registry), Watched(), device=Compiling())
    gc.collect()
    assert len(models) == 3
    assert [model() for model in models] == [None] * 3


@pytest.mark.heavy
def test_batches_of_another_size_are_not_compiled(registry: Registry) -> None:
    assert_same_bits(digits(registry, batch_size=128, test_batch_size=1024), Method)
    # 130 images are one whole batch and two more; every other batch is odd.
    assert COMPILED == [(128, True)]


@pytest.mark.heavy
def test_a_process_may_compile_many_architectures() -> None:
    for size in (4, 5):
        forward, images = CompiledForward(Compiling(), size), torch.ones(size, 3)
        for classes in range(2, 8):
            model = nn.Linear(3, classes)
            assert torch.equal(forward(model, images), model(images))
    assert len(COMPILED) == 12


def test_nothing_is_compiled_in_lazy_mode(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PT_HPU_LAZY_MODE", "1")
    trace_run(digits(registry), Method(), device=Compiling())
    assert COMPILED == []


def test_a_model_that_cannot_be_compiled_is_trained_eagerly(registry: Registry) -> None:
    class Broken(Plain):
        def compile_backend(self) -> str | None:
            return "broken_backend"

    def refuse(module: torch.fx.GraphModule, inputs: list[Tensor]) -> Any:
        raise RuntimeError("there is no C compiler")

    if "broken_backend" not in torch.compiler.list_backends():
        torch._dynamo.register_backend(refuse, name="broken_backend")
    task, callback = digits(registry), LogRecorder()
    trace = trace_run(task, Method(), device=Broken(), callback=callback)
    assert equal_weights(trace.weights, trace_run(task, Method(), device=Plain()).weights)
    assert all("cannot be compiled, so passes are computed eagerly" in line for line in callback.messages)
    assert "there is no C compiler" in callback.messages[0]


def test_a_compiler_that_torch_lacks_is_logged_and_not_used(registry: Registry) -> None:
    class Uncompiled(Plain):
        def compile_backend(self) -> str | None:
            return "a_vendors_backend"

    task, callback = digits(registry), LogRecorder()
    trace = trace_run(task, Method(), device=Uncompiled(), callback=callback)
    assert equal_weights(trace.weights, trace_run(task, Method(), device=Plain()).weights)
    assert set(callback.messages) == {
        "torch has no compiler 'a_vendors_backend' here: passes are computed eagerly"
    }
