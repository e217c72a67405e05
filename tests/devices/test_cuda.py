"""What only a card can show of captured steps: kernels, generators, memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import pytest
import torch
from support.cards import CompilingCuda, EagerCuda
from support.tasks import CAPTURED, LogRecorder, captured_digits, small_digits
from torch import nn

from plastibench.devices import Cuda, get_device
from plastibench.plugins.method import Method
from plastibench.plugins.recipe import Recipe
from plastibench.plugins.registry import Registry
from plastibench.plugins.task import Task
from plastibench.profiling.throughput import random_images
from plastibench.testing.run_trace import data_context, equal_weights, trace_run
from plastibench.training.evaluation import evaluate
from plastibench.training.learner import Learner

pytestmark = pytest.mark.cuda


@dataclass(kw_only=True)
class WithDropout(Method):
    """Trains a model with dropout."""

    def build(self, task: Task) -> nn.Module:
        return nn.Sequential(nn.Dropout(0.2), task.model())


@dataclass(kw_only=True)
class ReadsAResult(WithDropout):
    """Wrongly declared capturable: it reads a tensor on the host, and trains a model with dropout."""

    capturable: ClassVar[bool] = True

    def after_step(self, learner: Learner) -> None:
        if float(next(learner.model.parameters()).sum()) == 0.123:
            raise AssertionError("never")


@dataclass(kw_only=True)
class RunsOutOfMemory(Method):
    """Allocates more memory than there is while it is captured."""

    capturable: ClassVar[bool] = True
    calls: int = field(default=0, init=False)

    def after_step(self, learner: Learner) -> None:
        self.calls += 1
        torch.ones(2**44 if self.calls == 2 else 1, dtype=torch.uint8, device=learner.device.torch_device)


@pytest.fixture(autouse=True)
def _deterministic_cudnn() -> None:
    torch.backends.cudnn.deterministic = True


@pytest.mark.parametrize("optimizer", ["sgd", "sam", "adam", "muon"])
def test_captured_steps_of_resnet18_have_the_bits_of_eager_ones(optimizer: str) -> None:
    recipe = Recipe(max_epochs=2, target_accuracy=None).from_strings(
        {"optimizer": optimizer, "precision": "bf16"}
    )
    task = random_images(Registry().load("model", "resnet18")(), recipe, 128 * 5 + 40)
    captured, eager = (trace_run(task, Method(), device=device) for device in (Cuda(), EagerCuda()))
    assert equal_weights(captured.weights, eager.weights)


def test_compiled_passes_train_like_eager_ones() -> None:
    recipe = Recipe(max_epochs=3, target_accuracy=None)
    task = random_images(Registry().load("model", "small_resnet")(width=8), recipe, 512)
    compiled, eager = (trace_run(task, Method(), device=device) for device in (CompilingCuda(), Cuda()))
    for one, other in zip(compiled.weights[0].values(), eager.weights[0].values(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-2, atol=1e-3)


def test_dropout_draws_again_at_every_replay(registry: Registry) -> None:
    task = captured_digits(registry)
    captured, eager = (trace_run(task, WithDropout(), device=device) for device in (Cuda(), EagerCuda()))
    assert equal_weights(captured.weights, eager.weights)


def test_after_a_failed_capture_a_model_with_dropout_trains_eagerly(registry: Registry) -> None:
    task, log = captured_digits(registry), LogRecorder()
    fallen_back, eager = (
        trace_run(task, ReadsAResult(), device=device, callback=log) for device in (Cuda(), EagerCuda())
    )
    (message,) = log.messages
    assert message.startswith("steps cannot be captured, so each one is run eagerly")
    assert equal_weights(fallen_back.weights, eager.weights)


def test_memory_that_runs_out_during_a_capture_is_reported_as_such(registry: Registry) -> None:
    with pytest.raises(torch.OutOfMemoryError):
        trace_run(captured_digits(registry), RunsOutOfMemory(), device=get_device("cuda"))
    trace_run(captured_digits(registry), Method(), device=get_device("cuda"))


def test_memory_does_not_grow_from_stage_to_stage(registry: Registry) -> None:
    device, reserved = get_device("cuda"), list[int]()

    @dataclass(kw_only=True)
    class Watches(Method):
        capturable: ClassVar[bool] = True

        def after_stage(self, learner: Learner) -> None:
            reserved.append(torch.cuda.memory_reserved())

    trace_run(small_digits(registry, recipe=CAPTURED, stages=6), Watches(), device=device)
    assert reserved[-1] <= reserved[2] + 4 * 2**20, reserved


def test_a_captured_evaluation_gives_the_metrics_of_an_eager_one() -> None:
    device = Cuda()
    task = random_images(Registry().load("model", "small_resnet")(width=8), Recipe(), 4096)
    learner = Learner(task, Method(), 0, device)
    (*_, stage) = task.stream(0, data_context(device))
    assert stage.test is not None
    captured, eager = (
        evaluate(learner.model, stage.test, task.recipe, device, capturer=capturer)
        for capturer in (device.graph_capturer(), None)
    )
    assert captured == eager


def test_tf32_rounds_as_fp32_does_not() -> None:
    device, (a, b) = get_device("cuda"), torch.randn(2, 512, 512, device="cuda")
    products = []
    for precision in ("fp32", "tf32", "fp32"):
        with device.autocast(precision):
            products.append(a @ b)
    assert torch.equal(products[0], products[2])
    assert not torch.equal(products[0], products[1])


def test_the_card_says_how_much_energy_it_has_used() -> None:
    assert get_device("cuda").read_energy() is not None
