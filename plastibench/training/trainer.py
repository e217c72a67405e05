"""The training of one stage: epochs until a stop rule holds, with pauses in which the state can be kept."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from plastibench.data.dataset import Batch, batch_bounds
from plastibench.plugins.method import Method
from plastibench.plugins.recipe import Recipe
from plastibench.seeding import derive_seed, generator
from plastibench.training import state
from plastibench.training.callbacks import Checkpointer, EpochProgress, StateDict, TrainingCallback
from plastibench.training.evaluation import Metrics
from plastibench.training.learner import Learner
from plastibench.training.optimizers import learning_rate, set_learning_rate
from plastibench.training.step import TrainStep

DIVERGED = "diverged"
"""The stop reason of a stage whose loss is no longer a finite number; the run ends there."""


class Trainer:
    """A stage on its way from its first step, or from a state that was kept, to its last."""

    epoch: int
    """Epochs that are complete."""
    batch: int
    """Steps taken in the epoch after them."""

    def __init__(
        self,
        learner: Learner,
        method: Method,
        callback: TrainingCallback,
        checkpointer: Checkpointer,
        resumed: StateDict | None,
    ) -> None:
        """Start, or resume if the state was saved during training; learner and method have loaded it."""
        self.learner, self.method = learner, method
        self.callback, self.checkpointer = callback, checkpointer
        recipe, where = learner.task.recipe, learner.stage.index
        # Layers that draw, such as dropout, use the global stream: it starts afresh at every stage.
        learner.device.manual_seed(derive_seed(learner.seed, "layers", where))
        self._order = generator(learner.seed, "order", where)
        self._changes = generator(learner.seed, "augment", where) if recipe.augment else None
        self.engine = TrainStep(learner, method, callback.on_log)
        self.epoch = self.batch = 0
        self._resumed = resumed if resumed is not None and "training" in resumed else None
        if self._resumed is None:
            learner.model.train()
        else:
            self._resume(self._resumed["training"])

    def run(self) -> tuple[int, str, Metrics]:
        """Train until a stop rule holds; return the epochs taken, the rule, the last epoch's accuracy."""
        work, learner = self._work(), self.learner
        while True:
            with learner.cost.measure("train", learner.device):
                ended = next(work)
            if ended is not None:
                return ended
            self.checkpointer.save_state(self.state())

    def state(self) -> StateDict:
        """Return the whole state of the run, between two steps."""
        training = {
            "epoch": self.epoch,
            "batch": self.batch,
            "tally": self.engine.metrics.state_dict(),
            **self._began,
        }
        return state.state_dict(self.learner, self.method) | {"training": training}

    def _resume(self, training: dict[str, Any]) -> None:
        self.epoch, self.batch = training["epoch"], training["batch"]
        self._order.set_state(training["order"])
        if self._changes is not None:
            self._changes.set_state(training["changes"])

    def _work(self) -> Iterator[tuple[int, str, Metrics] | None]:
        """Yield None wherever the state is to be kept, and at last what the training came to."""
        recipe, stop = self.learner.task.recipe, None
        while stop is None:
            yield from self._steps(self._batches())
            train = self.engine.metrics.compute()
            self.epoch, self.batch = self.epoch + 1, 0
            stop = _stop(recipe, train, self.epoch, self.learner.cost.steps)
            accuracy = train.by(recipe.train_accuracy)
            self.callback.on_epoch_end(
                EpochProgress(self.learner.stage.index, self.epoch, accuracy, self.learner.step)
            )
        yield self.epoch, stop, train

    def _batches(self) -> Iterator[Batch]:
        """Begin an epoch and return its batches, without those that were trained before the run stopped."""
        recipe, data = self.learner.task.recipe, self.learner.stage.train
        # An epoch is gone on with from its beginning: the same order is drawn again.
        self._began = {
            "order": self._order.get_state(),
            "changes": None if self._changes is None else self._changes.get_state(),
        }
        self.engine.begin_epoch()
        order = torch.randperm(len(data), generator=self._order)
        batches = iter(data.batches(recipe.batch_size, order, self._changes))
        if self._resumed is not None:
            for _ in range(self.batch):
                next(batches)
            self.engine.metrics.load_state_dict(self._resumed["training"]["tally"])
            state.load_rng_state(self._resumed, self.learner)
            self._resumed = None
        return batches

    def _steps(self, batches: Iterator[Batch]) -> Iterator[None]:
        learner, recipe = self.learner, self.learner.task.recipe
        steps = len(batch_bounds(len(learner.stage.train), recipe.batch_size))
        while not _used_up(recipe, learner.cost.steps):
            batch: tuple[Tensor, Tensor] | None = next(batches, None)
            if batch is None:
                return
            if recipe.has_lr_schedule():
                rate = learning_rate(recipe, self.epoch, learner.cost.steps, steps)
                set_learning_rate(learner.optimizer, rate)
            self.engine.step(*batch)
            self.batch += 1
            if self.checkpointer.should_checkpoint():
                yield


def _used_up(recipe: Recipe, steps: int) -> bool:
    return recipe.max_steps is not None and steps >= recipe.max_steps


def _stop(recipe: Recipe, train: Metrics, epochs: int, steps: int) -> str | None:
    """Return the name of the rule that ends the stage, or None."""
    if not math.isfinite(train.loss):
        return DIVERGED
    if recipe.target_accuracy is not None and train.by(recipe.train_accuracy) >= recipe.target_accuracy:
        return "target_accuracy"
    if _used_up(recipe, steps):
        return "max_steps"
    if recipe.max_epochs is not None and epochs >= recipe.max_epochs:
        return "max_epochs"
    return None
