"""What is trained: a model, its optimizer and their progress. A method may read and change nothing else."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plastibench.devices import Device
from plastibench.plugins.layers import check_trainable, note_scopes, noted_scopes, weight_layers
from plastibench.plugins.method import Method
from plastibench.plugins.task import Stage, Task
from plastibench.seeding import generator, seeded_init
from plastibench.training import flops, optimizers
from plastibench.training.batch_norm import (
    averaged_batch_norm_statistics,
    batch_norms,
    training_batch_norms,
)
from plastibench.training.cost import Cost
from plastibench.training.head import find_head
from plastibench.training.model_state import model_state, model_structure


class Learner:
    """A model that is trained through the stages of one seed."""

    stage: Stage
    """The stage that is being trained, or is about to be."""

    def __init__(self, task: Task, method: Method, seed: int, device: Device) -> None:
        self.task = task
        self.device = device
        self.seed = seed
        self.step = 0
        """Updates since the start of the run."""
        self.cost = Cost()
        """What the current stage has cost so far."""
        self.generator = generator(seed, "method")
        """The method's own random stream, on the CPU."""
        self._method = method
        self._drawn = 0
        self.restart()
        self._built = model_structure(self.model)  # what a resumed run will have built

    def begin_stage(self, stage: Stage) -> None:
        """Start a stage."""
        self.stage = stage
        self.cost = Cost()
        self._drawn = 0 if stage.index else 1  # in the first stage, draw 0 was the model itself

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the learner, without its model.

        Raises RequestError if a method has changed the optimizer in a way that no checkpoint can hold.
        """
        self.check_optimizer()
        optimizers.check_attributes(self.optimizer, type(self._method).__name__)
        return {
            "step": self.step,
            "drawn": self._drawn,
            "cost": self.cost.as_dict(),
            "generator": self.generator.get_state(),
            "optimizer": self._optimizer_state(),
            "scopes": noted_scopes(self.model),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state in the stage that has begun; the model already has its weights."""
        self.step, self._drawn = state["step"], state["drawn"]
        self.cost = Cost.from_dict(state["cost"])
        self.generator.set_state(state["generator"])
        self._load_optimizer_state(state["optimizer"])
        note_scopes(self.model, state["scopes"])

    def model_state(self) -> dict[str, Any]:
        """Return the state of the model. Raises RequestError for a change that no checkpoint can hold."""
        return model_state(self.model, self._built, type(self._method).__name__)

    def loss(self, logits: Tensor, y: Tensor) -> Tensor:
        """Return the task's loss alone, the mean cross-entropy; logits (b, classes), y (b,)."""
        return F.cross_entropy(logits.float(), y)

    def fresh_model(self) -> nn.Module:
        """Return a newly initialized model on the device; each call within a stage draws another one.

        The random stream depends on the seed, the stage and the call, so methods that draw at the same
        point get the same weights.
        """
        index = self.stage.index if hasattr(self, "stage") else 0
        with seeded_init(self.seed, "init", index, self._drawn):
            model = self._method.build(self.task)
        check_trainable(model)
        self._drawn += 1
        return self.device.prepare_model(model)

    def initial_model(self) -> nn.Module:
        """Return the model as it was at the start of the run, on the device."""
        with seeded_init(self.seed, "init", 0, 0):
            return self.device.prepare_model(self._method.build(self.task))

    def head_name(self) -> str:
        """Return the name of the layer that returns the logits, which the architecture may declare.

        Raises RequestError if it is not known.
        """
        return self.task.architecture.head or find_head(self.model, self.stage.train.shape)

    @property
    def head(self) -> Any:  # noqa: ANN401 - a layer of any class
        """Return the output layer of the model. Raises RequestError if it is not known or parametrized."""
        return weight_layers(self.model, head=self.head_name())[-1]

    def clone(self, *stream: str | int) -> Learner:
        """Return a copy whose model, optimizer and cost are its own, with a named random stream."""
        twin = copy.copy(self)
        twin.model, twin.cost = copy.deepcopy(self.model), Cost()
        twin.generator = generator(self.seed, *stream)
        twin._load_optimizer_state(copy.deepcopy(self._optimizer_state()))
        return twin

    def reset_optimizer(self) -> None:
        """Replace the optimizer by the recipe's, with one group of all parameters of the model."""
        self._build_optimizer([list(self.model.parameters())])

    def clear_optimizer_state(self) -> None:
        """Reset momentum and moments of all parameters; parameter groups keep their options."""
        groups = self.optimizer.param_groups
        if len(groups) == 1:  # of a model that a method may have replaced
            groups[0]["params"] = list(self.model.parameters())
        self.optimizer.state.clear()

    def reset_optimizer_state(self, parameters: Iterable[Tensor]) -> None:
        """Reset momentum and moments of some parameters only."""
        for parameter in parameters:
            for value in self.optimizer.state.get(parameter, {}).values():
                value.zero_()  # as at the start: sums of nothing, and no step taken

    def restart(self) -> None:
        """Start again with a fresh model and a fresh optimizer."""
        self.model = self.fresh_model()
        self.reset_optimizer()

    def backward(self, model: nn.Module, x: Tensor, y: Tensor, weight: float = 1.0) -> None:
        """Add the gradient of `weight` times the mean loss on a batch to the `.grad` of `model`.

        For passes of the method itself, and counted as such.
        """
        with torch.enable_grad():
            with self.device.autocast(self.task.recipe.precision):
                logits = model(x.contiguous(memory_format=self.device.memory_format(model)))
            (self.loss(logits, y) * weight).backward()
        self.device.mark_step()
        self.cost.remedy_passes += len(y)
        self.cost.add_flops("remedy", flops.pass_flops(model, x.shape, backward=True))

    def reset_batch_norm(self) -> None:
        """Set the running statistics of batch normalization to mean 0 and variance 1.

        A layer that the model keeps in evaluation mode is frozen, and keeps its statistics.
        """
        for norm in training_batch_norms(self.model.train()):
            norm.reset_running_stats()

    def reestimate_batch_norm(self) -> None:
        """Measure the running statistics of batch normalization in one pass over all training data."""
        if not batch_norms(self.model):
            return
        recipe, memory_format = self.task.recipe, self.device.memory_format(self.model)
        self.model.train()
        count = flops.cached_pass_flops(self.model, backward=False)
        with (
            torch.no_grad(),
            self.device.autocast(recipe.precision),
            averaged_batch_norm_statistics(self.model),
        ):
            for x, y in self.stage.train.batches(recipe.batch_size):
                self.model(x.contiguous(memory_format=memory_format))
                self.cost.remedy_forwards += len(y)
                self.cost.add_flops("remedy", count(x.shape))

    def check_optimizer(self) -> None:
        """Raise RequestError if a method has left an optimizer that does not fit the recipe or the model."""
        optimizers.check_optimizer(self.optimizer, self.task.recipe, self.model, type(self._method).__name__)

    def _build_optimizer(self, groups: list[list[Tensor]]) -> None:
        recipe = self.task.recipe
        lr = self.device.make_lr(recipe.learning_rate)
        self.optimizer = optimizers.build_optimizer(recipe, [{"params": group} for group in groups], lr)
        optimizers.start_schedule(self.optimizer, recipe, self.device.make_lr)

    def _optimizer_state(self) -> dict[str, Any]:
        """Return the state of the optimizer, with the names of the parameters of each group."""
        names = {parameter: name for name, parameter in self.model.named_parameters()}
        groups = [
            [names[parameter] for parameter in group["params"]] for group in self.optimizer.param_groups
        ]
        return {"groups": groups, **self.optimizer.state_dict()}

    def _load_optimizer_state(self, state: dict[str, Any]) -> None:
        state, parameters = dict(state), dict(self.model.named_parameters())
        self._build_optimizer([[parameters[name] for name in group] for group in state.pop("groups")])
        optimizers.load_optimizer_state(self.optimizer, state)
