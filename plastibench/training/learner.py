"""What is trained: a model, its optimizer, and where they stand. All that a method may read or change."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from plastibench.devices import Device
from plastibench.plugins.method import Method
from plastibench.plugins.task import Stage, Task
from plastibench.seeding import generator, seeded_init
from plastibench.training import flops, optimizers
from plastibench.training.cost import Cost


class Learner:
    """A model on its way through the stages of one seed."""

    stage: Stage
    """The stage being trained or about to be."""

    def __init__(self, task: Task, method: Method, seed: int, device: Device) -> None:
        self.task = task
        self.device = device
        self.seed = seed
        self.step = 0
        """Updates since the start of the run."""
        self.cost = Cost()
        """What the present stage has cost so far."""
        self.generator = generator(seed, "method")
        """The method's own stream of random numbers, on the CPU."""
        self._method = method
        self._drawn = 0
        self.restart()

    def begin_stage(self, stage: Stage) -> None:
        """Enter a stage."""
        self.stage = stage
        self.cost = Cost()
        self._drawn = 0 if stage.index else 1  # the first stage's first draw made the model itself

    def state_dict(self) -> dict[str, Any]:
        """Return, beside the model, all that the learner is: what `restore` takes."""
        return {
            "step": self.step,
            "drawn": self._drawn,
            "cost": self.cost.as_dict(),
            "generator": self.generator.get_state(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Become what `state` says, in the stage that has begun; the model has its weights already."""
        self.step, self._drawn = state["step"], state["drawn"]
        self.cost = Cost.from_dict(state["cost"])
        self.generator.set_state(state["generator"])
        optimizers.load_optimizer_state(self.optimizer, state["optimizer"])

    def loss(self, logits: Tensor, y: Tensor) -> Tensor:
        """Return the task's loss alone, the mean cross-entropy; logits (b, classes), y (b,)."""
        return F.cross_entropy(logits.float(), y)

    def fresh_model(self) -> nn.Module:
        """Return a newly initialized model on the device; each call within a stage draws another.

        The stream depends on the seed, the stage and the call: methods that draw at the same point
        get the same weights.
        """
        index = self.stage.index if hasattr(self, "stage") else 0
        with seeded_init(self.seed, "init", index, self._drawn):
            model = self._method.build(self.task)
        self._drawn += 1
        return self.device.prepare_model(model)

    def initial_model(self) -> nn.Module:
        """Return the model as it was at the start of the run, on the device."""
        with seeded_init(self.seed, "init", 0, 0):
            return self.device.prepare_model(self._method.build(self.task))

    def clone(self, *stream: str | int) -> Learner:
        """Return a copy whose model, optimizer and cost are its own, with a named random stream."""
        twin = copy.copy(self)
        twin.model, twin.cost, twin.generator = (
            copy.deepcopy(self.model),
            Cost(),
            generator(self.seed, *stream),
        )
        twin.reset_optimizer()
        optimizers.load_optimizer_state(twin.optimizer, copy.deepcopy(self.optimizer.state_dict()))
        return twin

    def reset_optimizer(self) -> None:
        """Forget momentum and moments."""
        recipe = self.task.recipe
        rate = self.device.make_lr(recipe.learning_rate)
        self.optimizer = optimizers.build_optimizer(recipe, self.model.parameters(), rate)

    def reset_optimizer_state(self, parameters: Iterable[Tensor]) -> None:
        """Forget momentum and moments of some parameters only."""
        for parameter in parameters:
            for kept in self.optimizer.state.get(parameter, {}).values():
                kept.zero_()  # as at first: a sum of nothing, and no step yet

    def restart(self) -> None:
        """Begin with a fresh model and a fresh optimizer."""
        self.model = self.fresh_model()
        self.reset_optimizer()

    def backward(self, model: nn.Module, x: Tensor, y: Tensor, weight: float = 1.0) -> None:
        """Add the gradient of `weight` times the mean loss on a batch to `model`'s `.grad`.

        For passes of the remedy itself: they are counted as its own.
        """
        with torch.enable_grad():
            with self.device.autocast(self.task.recipe.precision):
                logits = model(x.contiguous(memory_format=self.device.memory_format(model)))
            (self.loss(logits, y) * weight).backward()
        self.device.mark_step()
        self.cost.remedy_passes += len(y)
        self.cost.add_flops("remedy", flops.pass_flops(model, x.shape, backward=True))

    def reset_batch_norm(self) -> None:
        """Set the running statistics of batch normalization to mean 0 and variance 1."""
        for norm in _norms(self.model):
            norm.reset_running_stats()

    def reestimate_batch_norm(self) -> None:
        """Measure the running statistics of batch normalization on all training data, one pass."""
        norms = list(_norms(self.model))
        if not norms:
            return
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # torch's sign for a plain average over batches
        self.model.train()
        memory_format = self.device.memory_format(self.model)
        works = flops.cached_pass_flops(self.model, backward=False)
        with torch.no_grad(), self.device.autocast(self.task.recipe.precision):
            for x, y in self.stage.train.batches(self.task.recipe.batch_size):
                self.model(x.contiguous(memory_format=memory_format))
                self.cost.remedy_forwards += len(y)
                self.cost.add_flops("remedy", works(x.shape))
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


def _norms(model: nn.Module) -> Iterable[_BatchNorm]:
    return (module for module in model.modules() if isinstance(module, _BatchNorm))
