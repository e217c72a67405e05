"""What is trained: a model, its optimizer and their progress. A method may read and change nothing else."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from plastibench.data.dataset import batch_bounds
from plastibench.devices import Device
from plastibench.devices.device import arranged
from plastibench.distributed.ranks import SOLO, Ranks
from plastibench.plugins.layers import note_scopes, noted_scopes, weight_layers
from plastibench.plugins.method import Method
from plastibench.plugins.recipe_changes import trained_task
from plastibench.plugins.task import Stage, Task
from plastibench.seeding import generator
from plastibench.training import flops, optimizer_checks
from plastibench.training.batch_norm import (
    averaged_batch_norm_statistics,
    batch_norms,
    training_batch_norms,
)
from plastibench.training.built_models import build_model
from plastibench.training.cost import Cost
from plastibench.training.counted_passes import CountedPasses
from plastibench.training.head import find_head
from plastibench.training.hidden_units import HiddenUnits, hidden_units
from plastibench.training.model_copy import copy_model
from plastibench.training.model_state import model_state, model_structure
from plastibench.training.optimized_model import OptimizedModel
from plastibench.training.stage_log import Reduction, StageLog


class Learner(CountedPasses, OptimizedModel):
    """A model that is trained through the stages of one seed."""

    stage: Stage
    """The stage that is being trained, or is about to be."""

    def __init__(self, task: Task, method: Method, seed: int, device: Device, ranks: Ranks = SOLO) -> None:
        self.task = trained_task(task, method)
        """With the recipe that the method is trained with."""
        self.device = device
        """Where the model and the data are."""
        self.ranks = ranks
        """The processes that train the run together, each on its own device; usually this one alone."""
        self.seed = seed
        """Of the run: an int, from which every random stream is derived."""
        self.step = 0
        """Updates since the start of the run."""
        self.cost = Cost()
        """What the current stage has cost so far."""
        self.generator = generator(seed, "method")
        """The method's own random stream, on the CPU."""
        self.activations: list[Tensor] | None = None
        """In `after_step`, if they are watched: those of the step's first pass, one tensor (b, units,
        positions) without gradient for each layer of `hidden_units`."""
        self.batch: Tensor | None = None
        """In `loss_term` and `after_step`: what the model is trained on in this step, (b, c, h, w), on this
        device if there are several."""
        self.capturer = device.graph_capturer() if ranks.size == 1 else None
        """Captures evaluations, if the device can."""
        self.watching = self.counts_backward = False
        self.choices: list[Tensor] = []
        """The order of the examples that had not arrived, after each stage, if the model chooses."""
        self._method = method
        self._log = StageLog()
        self._units: tuple[dict[nn.Parameter, bool], list[HiddenUnits]] | None = None
        self._drawn = 0
        self._begin()

    def _begin(self) -> None:
        """Make the first model and its optimizer."""
        self.restart()
        self._built = model_structure(self.model)  # what a resumed run will have built

    def begin_stage(self, stage: Stage) -> None:
        """Start a stage."""
        self.stage = stage
        self.cost, self._log, self._units = Cost(), StageLog(), None
        self._drawn = 0 if stage.index else 1  # in the first stage, draw 0 was the model itself

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the learner, without its model.

        Raises RequestError if a method has changed the optimizer in a way that no checkpoint can hold.
        """
        self.check_optimizer()
        optimizer_checks.check_attributes(self.optimizer, type(self._method).__name__)
        return {
            "step": self.step,
            "drawn": self._drawn,
            "cost": self.cost.as_dict(),
            "generator": self.generator.get_state(),
            "optimizer": self._optimizer_state(),
            "scopes": noted_scopes(self.model),
            "log": self._log.state_dict(),
            "watching": self.watching,
            "choices": self.choices,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state in the stage that has begun; the model already has its weights."""
        self.step, self._drawn = state["step"], state["drawn"]
        self.cost = Cost.from_dict(state["cost"])
        self.generator.set_state(state["generator"])
        self._load_optimizer_state(state["optimizer"])
        note_scopes(self.model, state["scopes"])
        self._log.load_state_dict(state.get("log", {}), self.device.torch_device)
        self.watching, self.choices = state.get("watching", False), state.get("choices", [])

    def model_state(self) -> dict[str, Any]:
        """Return the state of the model. Raises RequestError for a change that no checkpoint can hold."""
        return model_state(self.model, self._built, type(self._method).__name__)

    def fresh_model(self) -> nn.Module:
        """Return a newly initialized model on the device; each call within a stage draws another one.

        The random stream depends on the seed, the stage and the call, so methods that draw at the same
        point get the same weights.
        """
        index = self.stage.index if hasattr(self, "stage") else 0
        model = build_model(self.task, self._method, self.seed, "init", index, self._drawn)
        self._drawn += 1
        return self.device.prepare_model(model)

    def initial_model(self) -> nn.Module:
        """Return the model as it was at the start of the run, on the device."""
        return self.device.prepare_model(build_model(self.task, self._method, self.seed, "init", 0, 0))

    def steps_per_epoch(self) -> int:
        """Return the number of steps in an epoch over all training data of the stage."""
        return len(batch_bounds(len(self.stage.train), self.task.recipe.batch_size))

    def head_name(self) -> str:
        """Return the name of the layer that returns the logits, which the architecture may declare.

        Raises RequestError if it is not known.
        """
        return self.task.architecture.head or find_head(self.model, self.stage.train.shape)

    @property
    def head(self) -> Any:  # noqa: ANN401 - a layer of any class
        """Return the output layer of the model. Raises RequestError if it is not known or parametrized."""
        return weight_layers(self.model, head=self.head_name())[-1]

    def hidden_units(self, model: nn.Module | None = None) -> list[HiddenUnits]:
        """Return the layers of hidden units of the model, or of another one of the same architecture.

        Raises RequestError if they are not known, or if there are none.
        """
        declared = self.task.architecture.hidden_units
        shape = self.stage.train.shape if declared is None else ()
        if model is not None:
            return hidden_units(model, shape, declared)
        weights = {parameter: parameter.requires_grad for parameter in self.model.parameters()}
        if self._units is None or self._units[0] != weights:
            self._units = weights, hidden_units(self.model, shape, declared)
        return self._units[1]

    def watch_activations(self, on: bool = True) -> None:
        """Keep the activations of hidden units at every training step from now on, or no longer.

        Call it in `start` or `before_stage`, and read `learner.activations` in `after_step`.
        """
        self.watching = on

    def log(self, name: str, value: float | Tensor, reduction: Reduction = "last") -> None:
        """Report a number of the stage, which its results have as `log.NAME`.

        Of several values in a stage the last one counts, their sum or their mean. A tensor of one element is
        read when the stage ends, and the host does not wait for it before. Raises RequestError for another
        name than of small letters, 0 to 9 and underscores, and for what is not one finite number; a tensor
        that turns out not to be finite is reported as not measured.
        """
        self._log.add(name, value, reduction)

    def logged(self) -> dict[str, float | None]:
        """Wait for the device and return what has been logged in the stage, by `log.NAME`."""
        return self._log.compute()

    def clone(self, *stream: str | int) -> Learner:
        """Return a copy whose model, optimizer and cost are its own, with a named random stream.

        Its first fresh model has the weights that a cold start has in this stage. It is used by this process
        alone.
        """
        twin = copy.copy(self)
        twin.ranks, twin.part = SOLO, None
        twin.model, twin.cost, twin._drawn = copy_model(self.model), Cost(), 0
        twin._log, twin._units, twin.watching = StageLog(), None, False
        twin.generator = generator(self.seed, *stream)
        twin._load_optimizer_state(copy.deepcopy(self._optimizer_state()))
        return twin

    def restart(self) -> None:
        """Start again with a fresh model and a fresh optimizer."""
        self.model = self.fresh_model()
        self.reset_optimizer()

    def evaluated_model(self) -> nn.Module:
        """Return the model whose accuracy counts, as the method chooses it."""
        return self._method.evaluated(self)

    def reset_batch_norm(self) -> None:
        """Set the running statistics of batch normalization to mean 0 and variance 1.

        A layer that the model keeps in evaluation mode is frozen, and keeps its statistics.
        """
        for norm in training_batch_norms(self.model.train()):
            norm.reset_running_stats()

    def reestimate_batch_norm(self, model: nn.Module | None = None) -> None:
        """Measure the running statistics of batch normalization in one pass over all training data.

        Of the learner's model, or of another one, such as an average of weights; it is left in training mode.
        """
        model = self.model if model is None else model
        if not batch_norms(model):
            return
        recipe, memory_format = self.task.recipe, self.device.memory_format(model)
        model.train()
        count = flops.cached_pass_flops(model, backward=False)
        with (
            torch.no_grad(),
            self.device.autocast(recipe.precision),
            averaged_batch_norm_statistics(model),
        ):
            for x, _, part in self.stage.train.batches_of_rank(self.ranks, recipe.batch_size):
                with self.ranks.synchronized(part):
                    model(arranged(x, memory_format))
                self.cost.remedy_forwards += part.total
                self.cost.add_flops("remedy", count(part.shape(x)))
