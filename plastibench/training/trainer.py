"""The training of one stage: epochs until a stop rule holds, pausing wherever the state is to be saved."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from plastibench.data.dataset import Dataset, batch_bounds
from plastibench.devices.graph_capture import GraphCapturer
from plastibench.distributed.ranks import Part
from plastibench.errors import DataError
from plastibench.plugins.method import Method
from plastibench.plugins.probe import epoch_end
from plastibench.plugins.recipe import Recipe
from plastibench.seeding import derive_seed, generator
from plastibench.training import state
from plastibench.training.callbacks import Checkpointer, EpochProgress, StateDict, TrainingCallback
from plastibench.training.evaluation import Metrics
from plastibench.training.learner import Learner
from plastibench.training.optimizers import end_schedule, set_learning_rates, start_schedule
from plastibench.training.probing import StageProbes
from plastibench.training.shared_model import check_shared
from plastibench.training.step import TrainStep

DIVERGED = "diverged"
"""The stop reason of a stage whose loss is no longer finite; the run ends there."""

RankBatch = tuple[Tensor, Tensor, Part]
"""Examples and labels that this process takes of a batch, and which part of it they are."""
Pause = Literal["checkpoint", "probes"]
"""What training pauses for, so that its time does not count as training."""


@dataclass(frozen=True)
class TrainResult:
    """How the training of a stage ended."""

    num_epochs: int
    stop: str
    """Stop reason: target_accuracy, max_epochs, max_steps or diverged."""
    metrics: Metrics
    """Of the last epoch, measured during training."""


class Trainer:
    """Trains one stage, from its first step or from a saved state."""

    epoch: int
    """Number of complete epochs."""
    batch: int
    """Number of steps taken in the current epoch."""

    def __init__(
        self,
        learner: Learner,
        method: Method,
        callback: TrainingCallback,
        checkpointer: Checkpointer,
        *,
        capturer: GraphCapturer | None = None,
        resumed: StateDict | None = None,
        probes: StageProbes | None = None,
    ) -> None:
        """Start, or resume if the state was saved during training; learner and method have loaded it."""
        self.probes = probes or StageProbes({})
        self.learner, self.method = learner, method
        self.callback, self.checkpointer = callback, checkpointer
        augment, stage = learner.task.recipe.augment, learner.stage.index
        # Layers that draw, such as dropout, use the global generators, which start afresh in every stage.
        learner.device.manual_seed(derive_seed(learner.seed, "layers", stage))
        self._order = generator(learner.seed, "order", stage)
        self._augmentation = generator(learner.seed, "augment", stage) if augment else None
        self.step = TrainStep(learner, method, capturer, callback)
        self.epoch = self.batch = 0
        self._resumed = resumed if resumed is not None and "training" in resumed else None
        if self._resumed is None:
            learner.model.train()
            start_schedule(learner.optimizer, learner.task.recipe, learner.device.make_lr)
        else:
            self._load_state_dict(self._resumed["training"])

    def run(self) -> TrainResult:
        """Train until a stop rule holds."""
        training, learner = self._train(), self.learner
        while True:
            with learner.cost.measure("train", learner.device):
                result = next(training)
            if isinstance(result, TrainResult):
                if learner.task.recipe.has_lr_schedule():
                    end_schedule(learner.optimizer)
                learner.model.zero_grad(set_to_none=True)  # a run resumed after the last step has none
                return result
            if result == "probes":
                self.probes.measure(epoch_end(self.epoch), learner)
            else:
                self.checkpointer.save_state(self.state_dict())

    def state_dict(self) -> StateDict:
        """Return the whole state of the run, between two steps."""
        training = {
            "epoch": self.epoch,
            "batch": self.batch,
            "metrics": self.step.metrics.state_dict(),
            "probes": self.probes.state_dict(),
            **self._epoch_start,
        }
        return state.state_dict(self.learner, self.method) | {"training": training}

    def _load_state_dict(self, training: StateDict) -> None:
        with state.incompatible_if_it_fails():
            self.epoch, self.batch = training["epoch"], training["batch"]
            self.step.metrics.load_state_dict(training["metrics"])
            if "probes" in training:  # a checkpoint of an earlier version has none
                self.probes.load_state_dict(training["probes"])
            self._order.set_state(training["order"])
            if self._augmentation is not None:
                self._augmentation.set_state(training["augmentation"])

    def _train(self) -> Iterator[TrainResult | Pause]:
        """Yield a pause wherever something else is to be done, and finally the result."""
        learner, recipe, stop = self.learner, self.learner.task.recipe, None
        while stop is None:
            yield from self._train_epoch(self._start_epoch())
            metrics = self.step.metrics.compute()
            check_shared(learner, type(self.method).__name__)
            self.epoch, self.batch = self.epoch + 1, 0
            is_complete = self.epoch > len(learner.stage.available)
            stop = _stop_reason(recipe, metrics, self.epoch, learner.cost.steps, is_complete=is_complete)
            accuracy = metrics.accuracy(recipe.train_accuracy)
            progress = EpochProgress(learner.stage.index, self.epoch, accuracy, learner.step)
            self.callback.on_epoch_end(progress)
            if self.probes.are_due(epoch_end(self.epoch)):
                yield "probes"
        yield TrainResult(self.epoch, stop, metrics)

    def _start_epoch(self) -> Iterator[RankBatch]:
        """Return the batches of an epoch, without those that were trained on before the run was resumed."""
        recipe, data, augmentation = self.learner.task.recipe, self._arrived(), self._augmentation
        # An epoch is resumed from its start: the same order is drawn again.
        self._epoch_start = {
            "order": self._order.get_state(),
            "augmentation": None if augmentation is None else augmentation.get_state(),
        }
        order = torch.randperm(len(data), generator=self._order)
        ranks = self.learner.ranks
        position = 0 if self._resumed is None else self.batch
        options = ranks, recipe.batch_size, order, augmentation
        batches = iter(data.batches_of_rank(*options, start=position))
        if self._resumed is None:
            self.step.metrics.reset()
        else:
            state.load_rng_state(self._resumed, self.learner)
            self._resumed = None
        return batches

    def _arrived(self) -> Dataset:
        """Return the data that have arrived by the current epoch: usually all of the stage."""
        data, available = self.learner.stage.train, self.learner.stage.available
        return data[: available[self.epoch]] if self.epoch < len(available) else data

    def _train_epoch(self, batches: Iterator[RankBatch]) -> Iterator[Pause]:
        learner, recipe = self.learner, self.learner.task.recipe
        steps_per_epoch = len(batch_bounds(len(self._arrived()), recipe.batch_size))
        while not _reached_max_steps(recipe, learner.cost.steps):
            try:
                batch = next(batches, None)
            except DataError:  # of a file that cannot be read: once it can, the run continues from here
                if learner.ranks.size == 1:  # others may wait for this one
                    yield "checkpoint"
                raise
            if batch is None:
                return
            if recipe.has_lr_schedule():
                position = self.epoch, learner.cost.steps, steps_per_epoch
                set_learning_rates(learner.optimizer, recipe, *position)
            learner.ranks.at(learner.stage.index, self.epoch, self.batch)
            self.step(*batch)
            self.batch += 1
            if self.checkpointer.should_checkpoint():
                yield "checkpoint"


def _reached_max_steps(recipe: Recipe, num_steps: int) -> bool:
    return recipe.max_steps is not None and num_steps >= recipe.max_steps


def _stop_reason(
    recipe: Recipe, metrics: Metrics, num_epochs: int, num_steps: int, *, is_complete: bool
) -> str | None:
    """Return the name of the rule that ends the stage, or None; no accuracy does before data are complete."""
    accuracy = metrics.accuracy(recipe.train_accuracy)
    target = recipe.target_accuracy if is_complete else None
    if not math.isfinite(metrics.loss):
        return DIVERGED
    if target is not None and accuracy >= target:
        return "target_accuracy"
    if _reached_max_steps(recipe, num_steps):
        return "max_steps"
    if recipe.max_epochs is not None and num_epochs >= recipe.max_epochs:
        return "max_epochs"
    return None
