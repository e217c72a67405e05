"""The staged protocol: data arrive, the method acts, the model is trained and measured, again and again.

It knows no method, task, device or tracker by name, and writes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from plastibench.cost import Cost
from plastibench.data.core import spans
from plastibench.engine import Accuracy, Engine, evaluate
from plastibench.errors import RequestError
from plastibench.learner import Learner
from plastibench.method import Method
from plastibench.optim import learning_rate, set_learning_rate
from plastibench.streams import generator, seed_of
from plastibench.task import Recipe, Site, Task

VERSION = 1
"""Raised whenever a change here or in what it calls changes results: it is part of every run's id."""

DIVERGED = "diverged"
"""The stop reason of a stage whose loss is no longer a finite number; the run ends there."""


@dataclass(frozen=True)
class StageResult:
    """What one stage came to."""

    index: int
    num_train: int
    num_new: int
    epochs: int
    stop: str
    """Why training ended: target_accuracy, max_epochs, max_steps or diverged."""
    train_accuracy: float
    """Of the last epoch, as the recipe counts it, measured during training."""
    train_loss: float
    test_accuracy: float | None
    """As the recipe counts it; None, as all of the test, where the run is sealed."""
    test_correct: int | None
    num_test: int | None
    test_loss: float | None
    validation_accuracy: float | None
    cost: Cost
    peak_memory: int | None
    """Bytes on the device, or None where that is not known."""
    data: str
    """Checksum of the data set."""

    def as_dict(self) -> dict[str, Any]:
        """Return the result as plain values, the costs among them."""
        plain = {name: value for name, value in vars(self).items() if name != "cost"}
        return plain | self.cost.as_dict()


@dataclass(frozen=True)
class Epoch:
    """Where a run stands after an epoch: for a progress display."""

    stage: int
    epoch: int
    train_accuracy: float
    steps: int


Watch = Callable[[Epoch], None]


def run(
    task: Task, method: Method, seed: int, site: Site, watch: Watch | None = None
) -> Iterator[StageResult]:
    """Take a method through the stages of a task; yield the result of each.

    Raises RequestError where the method says that it cannot run on the task, DataError where data
    are missing. `watch` is called after every epoch.
    """
    reason = method.unsupported(task)
    if reason is not None:
        raise RequestError(f"{type(method).__name__} cannot run on {type(task).__name__}: {reason}")
    learner: Learner | None = None
    for stage in task.stream(seed, site):
        if learner is None:
            learner = Learner(task, method, seed, site.device)
        site.device.reset_peak_memory()
        learner.begin(stage)
        _prepare(learner, method)
        epochs, stop, train = _train(learner, method, watch)
        result = _measure(learner, method, (epochs, stop, train))
        method.after_stage(learner)
        yield result
        if stop == DIVERGED:
            return


def _prepare(learner: Learner, method: Method) -> None:
    """Let the method act between stages, then apply the two policies that it declares."""
    with learner.cost.timing("remedy"), torch.no_grad():
        if learner.stage.index == 0:
            method.start(learner)
        else:
            method.before_stage(learner)
            if method.optimizer_state == "clear":
                learner.reset_optimizer()
            if method.batch_norm == "reset":
                learner.reset_statistics()
            elif method.batch_norm == "reestimate":
                learner.reestimate_statistics()
        learner.device.synchronise()


def _train(learner: Learner, method: Method, watch: Watch | None) -> tuple[int, str, Accuracy]:
    """Train until a stop rule holds; return the epochs taken, the rule, and the last epoch's accuracy."""
    recipe, stage = learner.task.recipe, learner.stage
    # Layers that draw, such as dropout, use the global stream: it starts afresh at every stage.
    learner.device.seed(seed_of(learner.seed, "layers", stage.index))
    order = generator(learner.seed, "order", stage.index)
    changes = generator(learner.seed, "augment", stage.index) if recipe.augment else None
    engine = Engine(learner, method)
    learner.model.train()
    epoch, stop = 0, None
    with learner.cost.timing("train"):
        while stop is None:
            _train_epoch(engine, epoch, torch.randperm(len(stage.train), generator=order), changes)
            train = engine.tally.read()
            epoch += 1
            stop = _stop(recipe, train, epoch, learner.cost.steps)
            if watch is not None:
                watch(Epoch(stage.index, epoch, train.by(recipe.train_accuracy), learner.step))
    return epoch, stop, train


def _train_epoch(engine: Engine, epoch: int, order: torch.Tensor, changes: torch.Generator | None) -> None:
    learner, recipe = engine.learner, engine.recipe
    steps = len(spans(len(learner.stage.train), recipe.batch_size))
    engine.begin_epoch()
    for x, y in learner.stage.train.batches(recipe.batch_size, order, changes):
        if recipe.rate_varies():
            set_learning_rate(learner.optimizer, learning_rate(recipe, epoch, learner.cost.steps, steps))
        engine.step(x, y)
        if recipe.max_steps is not None and learner.cost.steps >= recipe.max_steps:
            return


def _stop(recipe: Recipe, train: Accuracy, epochs: int, steps: int) -> str | None:
    """Return the name of the rule that ends the stage, or None."""
    if not math.isfinite(train.loss):
        return DIVERGED
    if recipe.target_accuracy is not None and train.by(recipe.train_accuracy) >= recipe.target_accuracy:
        return "target_accuracy"
    if recipe.max_steps is not None and steps >= recipe.max_steps:
        return "max_steps"
    if recipe.max_epochs is not None and epochs >= recipe.max_epochs:
        return "max_epochs"
    return None


def _measure(learner: Learner, method: Method, trained: tuple[int, str, Accuracy]) -> StageResult:
    """Evaluate what the method wants evaluated, on test and validation data, where there are any."""
    recipe, stage, cost = learner.task.recipe, learner.stage, learner.cost
    epochs, stop, train = trained
    with cost.timing("evaluation"):
        model = method.evaluated(learner)
        test, held = (
            None if data is None else evaluate(model, data, recipe, learner.device)
            for data in (stage.test, stage.validation)
        )
    cost.evaluation_forwards += sum(found.total for found in (test, held) if found is not None)
    return StageResult(
        index=stage.index,
        num_train=len(stage.train),
        num_new=stage.new,
        epochs=epochs,
        stop=stop,
        train_accuracy=train.by(recipe.train_accuracy),
        train_loss=train.loss,
        test_accuracy=None if test is None else test.by(recipe.test_accuracy),
        test_correct=None if test is None else test.correct,
        num_test=None if test is None else test.total,
        test_loss=None if test is None else test.loss,
        validation_accuracy=None if held is None else held.by(recipe.test_accuracy),
        cost=cost,
        peak_memory=learner.device.peak_memory(),
        data=stage.checksum,
    )
