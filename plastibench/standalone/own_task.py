"""The task, the recipe and the device of one's own training, as the hooks of a remedy see them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, NoReturn

import torch
from torch import nn
from torch.optim import Optimizer

from plastibench.devices.device import Device
from plastibench.errors import RequestError
from plastibench.plugins.architecture import Architecture, LayerFactories, Shape
from plastibench.plugins.recipe import Recipe
from plastibench.plugins.task import DataContext, Stage, Task

HiddenUnitNames = Mapping[str, Sequence[str]]


class OwnDevice(Device):
    """The device and the memory format that a model has already."""

    device_type: ClassVar[str] = "own"

    def __init__(self, model: nn.Module) -> None:
        tensor = next(model.parameters())
        self.torch_device, dtypes = tensor.device, {p.dtype for p in model.parameters()}
        self._dtype = dtypes.pop() if len(dtypes) == 1 else None
        kernels = [p for p in model.parameters() if p.dim() == 4 and 1 not in p.shape[1:]]
        last = kernels and all(p.is_contiguous(memory_format=torch.channels_last) for p in kernels)
        self._format = torch.channels_last if last else torch.contiguous_format

    def memory_format(self, model: nn.Module) -> torch.memory_format:
        """Return the format in which the model is stored."""
        return self._format

    def prepare_model(self, model: nn.Module) -> nn.Module:
        """Return a model where and as one's own is stored."""
        return super().prepare_model(model.to(self._dtype) if self._dtype is not None else model)


class OwnTask(Task):
    """One's own training; what is the harness's alone is refused."""

    structure: ClassVar[Callable[[], nn.Module]]
    """Returns a copy of one's own model."""

    def stream(self, seed: int, context: DataContext) -> Iterator[Stage]:
        """Refuse: data arrive when the owner of the loop says so."""
        raise RequestError("the stages of a loop of your own are not known beforehand")

    def num_stages(self) -> int:
        """Return 1: how many more come is not known."""
        return 1

    def model(
        self,
        activation: Callable[[], nn.Module] | None = None,
        norm: Callable[[int], nn.Module] | None = None,
    ) -> nn.Module:
        """Return a copy of one's own model, with its own layers."""
        return type(self).structure()

    @classmethod
    def recipes(cls, architecture: Architecture) -> Mapping[str, Recipe]:
        """Return the default recipe alone."""
        return {"own": Recipe()}


class OwnArchitecture(Architecture):
    """One's own model, whose parts may be named."""

    def build(self, shape: Shape, num_classes: int, factories: LayerFactories) -> NoReturn:
        """Refuse: the model exists already."""
        raise RequestError("a model of your own is not built by its shape")


def own_task(
    structure: Callable[[], nn.Module],
    recipe: Recipe,
    head: str | None,
    hidden_units: HiddenUnitNames | None,
) -> Task:
    """Return the task of a training of one's own; what is declared of an architecture is in its class."""
    declared: dict[str, Any] = {"head": head, "hidden_units": hidden_units}
    architecture: Architecture = type("OwnArchitecture", (OwnArchitecture,), declared)()
    task: type[Task] = type("OwnTask", (OwnTask,), {"structure": staticmethod(structure)})
    return task(recipe=recipe, architecture=architecture)


def recipe_of(optimizer: Optimizer | None) -> Recipe:
    """Return what a recipe can say of an optimizer, by its first parameter group."""
    if optimizer is None:
        return Recipe()
    known: dict[str, Any] = {}
    group = optimizer.param_groups[0]
    momentum = group["betas"][0] if "betas" in group else group.get("momentum", 0.0)
    known["optimizer"] = kind_of(optimizer)
    known["learning_rate"] = max(0.0, float(group.get("lr", 0.0)))
    known["momentum"] = min(max(float(momentum), 0.0), 1.0)
    known["weight_decay"] = max(0.0, float(group.get("weight_decay", 0.0)))
    return Recipe(**known)


def kind_of(optimizer: Optimizer) -> str:
    """Return the recipe's optimizer that scales with the weights as this one does.

    An update that does not depend on the gradient's size is that of adam, or of adamw if its weight decay is
    decoupled. Its optimizer has `betas`, or an `eps` for the root that it divides by.
    """
    group, name = optimizer.param_groups[0], type(optimizer).__name__.lower()
    if not group.keys() & {"betas", "eps", "etas"}:
        return "sgd"
    return "adamw" if group.get("decoupled_weight_decay") or name.endswith(("w", "lion")) else "adam"
