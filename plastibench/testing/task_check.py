"""The laws for a task: what its stages hold, and that the seed alone decides it."""

import hashlib
from collections.abc import Callable, Iterator
from functools import partial

import torch

from plastibench.data.checked import batch_problem
from plastibench.data.described import named
from plastibench.plugins.method import Method
from plastibench.plugins.plugin import Plugin
from plastibench.plugins.stages import stages_of
from plastibench.plugins.task import DataContext, Stage, Task
from plastibench.testing.law_suite import LawResult, result_of
from plastibench.testing.law_tasks import LawTasks
from plastibench.training.built_models import build_model, check_logits, num_outputs

EXAMPLES = 64
"""Size of the batch that is looked at."""


class TaskCheck:
    """The laws for one task, with its defaults."""

    def __init__(self, plugin: Plugin, tasks: LawTasks) -> None:
        cls: type[Task] = plugin.load()
        architecture = tasks.architecture(cls.default_architecture)
        recipe = next(iter(cls.recipes(architecture).values()))
        self.task = cls(recipe=recipe, architecture=architecture)
        self.context = tasks.context

    def results(self) -> Iterator[LawResult]:
        """Yield the result of each law."""
        checks: dict[str, Callable[[Task, DataContext], None]] = {
            "its stages hold batches of its shape, with labels of its classes": stages_hold_batches,
            "the seed determines the data": seed_determines_data,
            "its model returns logits for its classes": model_returns_logits,
        }
        for name, check in checks.items():
            yield result_of(name, partial(check, self.task, self.context))


def stages_hold_batches(task: Task, context: DataContext) -> None:
    """There are as many stages as the task says, and the first batch of each data set is one."""
    number, classes = 0, num_outputs(task)
    for stage in stages_of(task, 0, context):
        number += 1
        for part in ("train", "validation", "test"):
            data = getattr(stage, part)
            if data is None:
                continue
            problem = batch_problem(next(iter(data.batches(EXAMPLES)), None), tuple(data.shape))
            where = f"stage {stage.index}, {part}: batches of {named(type(data))}"
            assert problem is None, f"{where} yields {problem}"
            labels = data.labels()
            low, high = int(labels.min()), int(labels.max())
            allowed = low >= 0 and (classes is None or high < classes)
            assert allowed, f"{where} has labels from {low} to {high}: they must be 0 to {(classes or 0) - 1}"
    assert number == task.num_stages(), f"there are {number} stages, and num_stages() is {task.num_stages()}"


def seed_determines_data(task: Task, context: DataContext) -> None:
    """Two streams of a seed are equal."""
    first, second = _digests(task, context), _digests(task, context)
    assert len(first) == len(second), f"two streams of seed 0 have {len(first)} and {len(second)} stages"
    for index, (one, other) in enumerate(zip(first, second, strict=True)):
        assert one == other, (
            f"two streams of seed 0 differ in stage {index}: something outside decides, such as a generator "
            "of Python or NumPy, the time, the order of files or of a set, or a variable of the module"
        )


def model_returns_logits(task: Task, context: DataContext) -> None:
    """The model maps a batch of the first stage to logits."""
    x, y = next(next(stages_of(task, 0, context)).train.batches(EXAMPLES))
    model = build_model(task, Method(), 0, "init", 0, 0).to(context.device.torch_device)
    with torch.no_grad():
        check_logits(model.eval()(x), y, task, Method(), num_outputs(task))


def _digests(task: Task, context: DataContext) -> list[str]:
    return [_digest(stage) for stage in stages_of(task, 0, context)]


def _digest(stage: Stage) -> str:
    state = hashlib.sha256(repr(stage.chunks).encode())
    for data in (stage.train, stage.validation, stage.test):
        if data is not None:
            data.update_digest(state)
    return state.hexdigest()
