"""A task with other test data: a run that reads no test data has the same weights on it."""

import copy
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import torch

from plastibench.data.dataset import Dataset
from plastibench.data.images import DatasetSplits
from plastibench.plugins.classification_task import ClassificationTask
from plastibench.plugins.task import DataContext, Stage, Task


def with_other_test(task: Task) -> Task:
    """Return the task with half of its test examples, whose labels are others.

    Of a ClassificationTask `load` itself returns them, for a method that loads the data again.
    """
    other = copy.copy(task)
    object.__setattr__(other, "__class__", _with_other_test(type(task)))
    return other


@cache
def _with_other_test(cls: Any) -> type[Task]:  # noqa: ANN401 - a subclass of Task
    def load(self: Any, context: DataContext) -> DatasetSplits:  # noqa: ANN401 - of the class below
        splits: DatasetSplits = cls.load(self, context)
        return replace(splits, test=_other(splits.test), _checksum="")

    def stream(self: Any, seed: int, context: DataContext) -> Iterator[Stage]:  # noqa: ANN401 - as above
        for stage in cls.stream(self, seed, context):
            yield replace(stage, test=None if stage.test is None else _other(stage.test))

    changed = {"load": load} if issubclass(cls, ClassificationTask) else {"stream": stream}
    return type(cls.__name__, (cls,), changed)


def _other(test: Dataset) -> Dataset:
    half = test.take(torch.arange((len(test) + 1) // 2))
    return half.with_labels(half.labels().roll(1))
