"""What a task draws depends on no run, and changes none."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from support.tasks import small_digits

from plastibench.data.dataset import InMemoryDataset
from plastibench.plugins.method import Method
from plastibench.plugins.registry import Registry
from plastibench.plugins.stages import stages_of
from plastibench.plugins.task import DataContext, Stage, Task
from plastibench.testing.run_trace import data_context, equal_weights, trace_run


@cache
def changed(cls: Any, **methods: Any) -> Any:
    return type(cls.__name__, (cls,), methods)


def with_methods(task: Task, **methods: Any) -> Task:
    """Return the task with other methods."""
    other = copy.copy(task)
    object.__setattr__(other, "__class__", changed(type(task), **methods))
    return other


@pytest.fixture
def task(registry: Registry) -> Task:
    return small_digits(registry, "mlp_bn", recipe={"max_epochs": 1})


def labels(task: Task, seed: int) -> list[torch.Tensor]:
    return [stage.train.labels() for stage in stages_of(task, seed, data_context())]


def test_torchs_generator_stays_as_it_is_whatever_a_task_does_with_it(task: Task) -> None:
    def stream(self: Any, seed: int, context: DataContext) -> Iterator[Stage]:
        for stage in type(task).stream(self, seed, context):
            torch.manual_seed(0)
            torch.rand(3)
            yield stage

    torch.manual_seed(5)
    before = torch.get_rng_state()
    for _ in stages_of(with_methods(task, stream=stream), 0, data_context()):
        assert torch.equal(before, torch.get_rng_state())
        torch.rand(1)
        before = torch.get_rng_state()
    assert torch.equal(before, torch.get_rng_state())


def test_a_task_that_seeds_gives_the_run_that_it_would_give(task: Task) -> None:
    def load(self: Any, context: DataContext) -> Any:
        torch.manual_seed(0)
        return type(task).load(self, context)  # type: ignore[attr-defined]  # of a ClassificationTask

    plain, seeded = (trace_run(one, Method()) for one in (task, with_methods(task, load=load)))
    assert equal_weights(plain.weights, seeded.weights)


def test_what_a_stream_draws_depends_on_the_seed_alone(task: Task) -> None:
    def stream(self: Any, seed: int, context: DataContext) -> Iterator[Stage]:
        for stage in type(task).stream(self, seed, context):
            drawn = torch.randint(0, 10, (len(stage.train),))
            yield replace(stage, train=stage.train.with_labels(drawn))

    drawing = with_methods(task, stream=stream)
    torch.manual_seed(1)
    first = labels(drawing, 0)
    torch.manual_seed(2)
    again, other = labels(drawing, 0), labels(drawing, 1)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))
    assert not torch.equal(first[0], first[1][: len(first[0])])


def test_a_data_set_that_is_drawn_is_the_same_for_all_seeds(task: Task) -> None:
    loaded = []

    def load(self: Any, context: DataContext) -> Any:
        splits = type(task).load(self, context)  # type: ignore[attr-defined]  # of a ClassificationTask
        assert isinstance(splits.train, InMemoryDataset)
        drawn = torch.randint(0, 10, (len(splits.train),))
        loaded.append(drawn)
        return replace(splits, train=splits.train.with_labels(drawn))

    drawing = with_methods(task, load=load)
    for seed in (0, 1):
        next(stages_of(drawing, seed, data_context()))
    assert torch.equal(*loaded)
