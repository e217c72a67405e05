"""Passes through a device's own compiler: the same bits, few graphs, and a model that does not know of it.

The compiler stands in for Gaudi's: registered under its name and built on AOTAutograd as it is, it counts
graphs and computes them operation by operation on the CPU.
"""

from __future__ import annotations

import gc
import weakref
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from support.tasks import Listening, small_digits
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

MADE: list[tuple[int, bool]] = []
"""Of each graph that was compiled: the size of its batch, and whether it was to be trained."""


def count(graph: torch.fx.GraphModule, inputs: list[Any]) -> Any:
    images = next(item for item in inputs if isinstance(item, Tensor) and not isinstance(item, nn.Parameter))
    MADE.append((len(images), torch.is_grad_enabled()))
    assert not any(isinstance(item, torch.SymInt) for item in inputs), "a shape is not static"
    return aot_autograd(fw_compiler=boxed_nop)(graph, inputs)


class Plain(Cpu):
    """The CPU with the layout that is used on Gaudi: another layout rounds differently."""

    def memory_format(self, model: nn.Module) -> torch.memory_format:
        return torch.contiguous_format


class Compiling(Plain):
    """The same, with what a Gaudi card says of compilers."""

    def compile_backend(self) -> str | None:
        return Hpu().compile_backend()


@dataclass(kw_only=True)
class CountsInPython(Method):
    """Does what no recording could repeat: Python decides by the number of the step."""

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
    MADE.clear()


def digits(registry: Registry, optimizer: str = "sgd", model: str = "mlp_bn", **recipe: Any) -> Task:
    """Return three stages, the last batch of each smaller than all others and than those of other stages."""
    shaped = {"optimizer": optimizer, "batch_size": 24, "test_batch_size": 100, **recipe}
    return small_digits(registry, model, recipe=shaped)


def agree(task: Task, kind: type[Method]) -> None:
    compiled, plain = trace_run(task, kind(), device=Compiling()), trace_run(task, kind(), device=Plain())
    assert equal_weights(compiled.weights, plain.weights), kind.__name__
    assert compiled.rows() == plain.rows(), kind.__name__


def test_a_record_says_through_which_compiler_passes_went(monkeypatch: pytest.MonkeyPatch) -> None:
    assert provenance(Compiling())["compiler"] == "hpu_backend"
    assert provenance(Plain())["compiler"] is None
    monkeypatch.setattr(Compiling, "compile_backend", lambda _: "of nobody")
    assert provenance(Compiling())["compiler"] is None, "torch does not have it: nothing is compiled"


@pytest.mark.parametrize("optimizer", ["sgd", "sam"])
def test_every_method_gives_the_bits_of_passes_that_are_not_compiled(
    registry: Registry, optimizer: str
) -> None:
    task = digits(registry, optimizer)
    for name in registry.names("method"):
        agree(task, registry.load("method", name))
    # All of them train models with the same layers: what was compiled for the first serves the others.
    assert sorted(MADE) == [(24, True), (100, False)]


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_convolutions_are_one_graph_and_give_the_same_bits(registry: Registry, precision: str) -> None:
    agree(digits(registry, "sam", "small_resnet", precision=precision), registry.load("method", "cold"))
    assert sorted(MADE) == [(24, True), (100, False)]


def test_a_second_pass_that_leaves_statistics_alone_is_one_more_graph(registry: Registry) -> None:
    agree(digits(registry, "sam", sam_statistics="first"), registry.load("method", "warm"))
    assert sorted(MADE) == [(24, True), (24, True), (100, False)]


def test_hooks_are_not_compiled_so_python_may_decide_in_them(registry: Registry) -> None:
    agree(digits(registry), CountsInPython)


def test_stopped_runs_go_on_and_their_weights_have_the_names_of_the_models(registry: Registry) -> None:
    task = digits(registry)
    laws.interruption_changes_nothing(task, registry.load("method", "dash"), 5, Compiling())
    assert trace_run(task, Method(), device=Compiling()).weights[0].keys() == task.model().state_dict().keys()
    assert len(MADE) == 2


def test_no_model_outlives_its_stage(registry: Registry) -> None:
    kind, models = registry.load("method", "cold"), []

    class Watched(kind):  # type: ignore[valid-type, misc]
        def after_stage(self, learner: Learner) -> None:
            models.append(weakref.ref(learner.model))

    trace_run(digits(registry), Watched(), device=Compiling())
    gc.collect()
    assert len(models) == 3
    assert [found() for found in models] == [None] * 3


def test_batches_of_another_size_are_not_compiled(registry: Registry) -> None:
    agree(digits(registry, batch_size=128, test_batch_size=1024), Method)
    # 130 images are one whole batch and two images more; all else is odd.
    assert MADE == [(128, True)]


def test_a_process_may_compile_many_kinds_of_models() -> None:
    for size in (4, 5):
        forward, images = CompiledForward(Compiling(), size), torch.ones(size, 3)
        for classes in range(2, 8):
            model = nn.Linear(3, classes)
            assert torch.equal(forward(model, images), model(images))
    assert len(MADE) == 12


def test_lazy_mode_makes_its_own_graphs(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PT_HPU_LAZY_MODE", "1")
    trace_run(digits(registry), Method(), device=Compiling())
    assert MADE == []


def test_a_compiler_that_torch_lacks_is_said_and_done_without(registry: Registry) -> None:
    class Elsewhere(Plain):
        def compile_backend(self) -> str | None:
            return "a_vendors_backend"

    task, callback = digits(registry), Listening()
    found = trace_run(task, Method(), device=Elsewhere(), callback=callback)
    assert equal_weights(found.weights, trace_run(task, Method(), device=Plain()).weights)
    assert set(callback.said) == {
        "torch has no compiler 'a_vendors_backend' here: passes are computed operation by operation"
    }
