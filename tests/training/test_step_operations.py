"""How many operations a training step is made of: each one is a kernel of its own on a GPU."""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import replace

import pytest
import torch
from support.operations import operations
from support.tasks import small_digits
from torch import Tensor, nn

from plastibench.plugins.method import Method
from plastibench.plugins.registry import Registry
from plastibench.testing.cpu_graphs import FusedCpu
from plastibench.testing.run_trace import data_context
from plastibench.training.batch_counters import BatchCounters
from plastibench.training.batch_norm import batch_norms
from plastibench.training.learner import Learner
from plastibench.training.sam import SAM
from plastibench.training.step import TrainStep


class Odd(nn.BatchNorm1d):
    """A layer with a forward pass of its own, which reads its counter."""

    def forward(self, input: Tensor) -> Tensor:
        y = super().forward(input)
        assert self.num_batches_tracked is not None
        return y * float(self.num_batches_tracked)


class Branching(nn.Module):
    """Layers that are called twice, once, never, and that count in ways of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.twice, self.once, self.never = (nn.BatchNorm1d(4) for _ in range(3))
        self.cumulative, self.odd = nn.BatchNorm1d(4, momentum=None), Odd(4)
        self.frozen, self.untracked = nn.BatchNorm1d(4), nn.BatchNorm1d(4, track_running_stats=False)
        self.frozen.eval()

    def forward(self, x: Tensor) -> Tensor:
        for norm in (self.twice, self.once, self.twice, self.cumulative, self.odd, self.frozen):
            x = norm(x)
        return self.untracked(x)  # type: ignore[no-any-return]


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.heavy)])
def test_batches_are_counted_together_as_each_layer_would(*, compiled: bool) -> None:
    model, x, counters = Branching(), torch.randn(8, 4), BatchCounters()
    if compiled:
        model.cumulative, model.odd = nn.Identity(), nn.Identity()  # type: ignore[assignment]
    plain = copy.deepcopy(model)
    for _ in range(3):
        with counters.compiled(model, x.shape) if compiled else counters.eager(model):
            together = model(x)
        assert torch.equal(together, plain(x))
    for (name, found), expected in zip(model.state_dict().items(), plain.state_dict().values(), strict=True):
        assert torch.equal(found, expected), name
    assert int(model.twice.num_batches_tracked or 0) == 6


@pytest.mark.heavy
def test_a_model_that_cannot_be_traced_counts_itself() -> None:
    class Reads(nn.BatchNorm1d):
        def forward(self, input: Tensor) -> Tensor:
            return super().forward(input) * float(input.detach().sum())

    model, x = nn.Sequential(nn.BatchNorm1d(4), Reads(4)), torch.randn(8, 4)
    with BatchCounters().compiled(model, x.shape):
        model(x)
    assert [int(norm.num_batches_tracked or 0) for norm in batch_norms(model)] == [1, 1]


@pytest.mark.heavy
def test_counters_are_the_layers_own_after_a_pass_that_fails() -> None:
    model, counters, x = nn.Sequential(nn.BatchNorm1d(4)), BatchCounters(), torch.randn(4)
    counter = model[0].num_batches_tracked
    for context in (counters.eager(model), counters.compiled(model, torch.Size((8, 4)))):
        with pytest.raises(ValueError, match="expected 2D"), context:
            model(x)
        assert model[0].num_batches_tracked is counter


def a_step(registry: Registry, method: Method, model: str = "small_resnet", **recipe: object) -> TrainStep:
    """Return a step that has been taken once, so that all state is there; its optimizer is fused."""
    task = small_digits(registry, model=model)
    task = replace(task, recipe=replace(task.recipe, **recipe))  # type: ignore[arg-type]
    learner = Learner(task, method, 0, FusedCpu())
    learner.begin_stage(next(iter(task.stream(0, data_context()))))
    with torch.no_grad():
        method.start(learner)
    step = TrainStep(learner, method)
    take(step)
    return step


def take(step: TrainStep) -> None:
    step(*next(iter(step.learner.stage.train.batches(16))))


def counted(step: TrainStep) -> Counter[str]:
    return operations(lambda: take(step))


@pytest.mark.parametrize("recipe", [{}, {"optimizer": "sam", "sam_statistics": "first"}])
def test_a_step_counts_batches_by_one_operation(registry: Registry, recipe: dict[str, str]) -> None:
    step = a_step(registry, Method(), **recipe)
    found, layers = counted(step), batch_norms(step.learner.model)
    assert found["_foreach_add_"] == 1 + len(recipe) // 2, "SAM moves the weights by another"
    assert found["add_"] < (1 + len(recipe) // 2) * len(layers)
    assert {int(norm.num_batches_tracked or 0) for norm in layers} == {2}, "one for each step"


def test_sam_keeps_the_weights_by_one_operation(registry: Registry) -> None:
    step = a_step(registry, Method(), optimizer="sam")
    assert isinstance(step.learner.optimizer, SAM)
    found = counted(step)
    assert found["clone"] < len(list(step.learner.model.parameters()))
    assert found["_foreach_copy_"] == 2, "away, and back"


def test_a_penalty_on_distances_is_two_operations_a_weight_backward(registry: Registry) -> None:
    plain, step = a_step(registry, Method()), a_step(registry, registry.load("method", "l2_init")())
    weights = len(list(step.learner.model.parameters()))
    own = counted(step) - counted(plain)
    # torch's foreach operations with a number on the device for each weight are one kernel for each weight.
    assert (own["_foreach_div"], own["_foreach_mul"]) == (1, 1)
    assert own["add"] == weights, "its gradient is added to that of the loss"
    assert own.total() <= weights + 16


def test_muon_is_one_operation_for_all_weights_but_for_products_of_matrices(registry: Registry) -> None:
    plain, step = a_step(registry, Method()), a_step(registry, registry.load("method", "muon")())
    matrices = [w for w in step.learner.model.parameters() if w.dim() == 4]
    own = counted(step) - counted(plain)
    assert own["mm"] == 5 * 3 * len(matrices)
    # Each matrix is also copied into rows where its memory format is another one.
    assert own.total() - own["mm"] < 3 * len(matrices) + 60
