"""A model and the optimizer that trains it: built by the recipe, reset in whole or in part, kept, loaded."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from plastibench.devices import Device
from plastibench.plugins.method import Method
from plastibench.plugins.task import Task
from plastibench.training import optimizer_checks, optimizers
from plastibench.training.muon import hidden_matrices


class OptimizedModel(ABC):
    """A model and its optimizer, by the recipe of a task."""

    task: Task
    model: nn.Module
    """What is trained, on the device and in training mode."""
    optimizer: torch.optim.Optimizer
    """The recipe's, unless the method has changed its groups or their options."""
    device: Device
    _method: Method

    @abstractmethod
    def head_name(self) -> str:
        """Return the name of the layer that returns the logits."""

    def reset_optimizer(self) -> None:
        """Replace the optimizer by the recipe's, with one group of all parameters of the model."""
        self._build_optimizer([list(self.model.parameters())])

    def clear_optimizer_state(self) -> None:
        """Reset momentum and moments of all parameters; parameter groups keep their options."""
        groups = self.optimizer.param_groups
        parameters: list[Tensor] = list(self.model.parameters())
        if len(groups) == 1 and list(map(id, groups[0]["params"])) != list(map(id, parameters)):
            # The method has replaced the model: Muon has to find its matrices anew.
            options = {name: value for name, value in groups[0].items() if name != "params"}
            self._build_optimizer([parameters])
            self.optimizer.param_groups[0].update(options)
        self.optimizer.state.clear()

    def reset_optimizer_state(self, parameters: Iterable[Tensor]) -> None:
        """Reset momentum and moments of some parameters only."""
        for parameter in parameters:
            for value in self.optimizer.state.get(parameter, {}).values():
                value.zero_()  # as at the start: sums of nothing, and no step taken

    def reset_optimizer_entries(self, parameter: Tensor, mask: Tensor) -> None:
        """Reset momentum and moments of some entries; `mask` is boolean and broadcasts to the parameter.

        The host does not wait. Adam's step count, one for the whole parameter, stays.
        """
        for value in self.optimizer.state.get(parameter, {}).values():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                value.masked_fill_(mask, 0.0)

    def check_optimizer(self) -> None:
        """Raise RequestError if a method has left an optimizer that does not fit the recipe or the model."""
        optimizer_checks.check_optimizer(
            self.optimizer, self.task.recipe, self.model, type(self._method).__name__
        )

    def _build_optimizer(self, groups: list[list[Tensor]]) -> None:
        recipe = self.task.recipe
        lr = self.device.make_lr(recipe.learning_rate)
        matrices = partial(hidden_matrices, recipe, self.model, self.head_name)
        self.optimizer = optimizers.build_optimizer(recipe, [{"params": g} for g in groups], lr, matrices)
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
