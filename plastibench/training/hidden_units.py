"""The hidden units of a model: for each one its incoming weights, its normalization and its outgoing weights.

A unit is a feature of a linear layer or a channel of a convolution. A layer is listed if all that its units
feed is known to be trained linear layers and convolutions, through normalizations, activations, pooling,
flattening and concatenation, each unit alone. Left out are the output layer and every layer whose output is
added to another one's (a residual stream), that is frozen, runs twice or shares its weights.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import Parameter

from plastibench.errors import RequestError, unknown
from plastibench.plugins.classification_task import ClassificationTask
from plastibench.plugins.layers import NORMS, check_plain
from plastibench.plugins.task import Task
from plastibench.training.flops import architecture_key
from plastibench.training.unit_tags import is_layer_of_units, unit_dim
from plastibench.training.unit_trace import Place, TracedUnits, UnitTrace, trace_units

Declared = Mapping[str, Sequence[str]]

_traces: dict[Any, UnitTrace] = {}
_reasons: dict[Any, str | None] = {}


@dataclass(frozen=True, eq=False)
class UnitEntries:
    """The entries of a module's parameters that belong to each unit."""

    module: Any
    """A layer, or a normalization."""
    dim: int
    """The dimension of its weight along which they lie; all other parameters are flat."""
    index: Tensor
    """(units, k): the entries of each unit. A channel has height x width of them if it is flattened first."""
    in_order: bool
    """Whether `index` is 0, 1, 2 and so on, row by row."""

    def spread(self, values: Tensor, parameter: Tensor) -> Tensor:
        """Return values (units,) at their units' entries, 0 elsewhere; it broadcasts to the parameter."""
        shape = [1] * parameter.dim()
        if isinstance(self.module, NORMS):
            shape = list(parameter.shape)
        else:
            dim = self.dim if parameter.dim() > 1 else 0
            shape[dim] = parameter.shape[dim]
        if self.in_order:
            return values.repeat_interleave(self.index.shape[1]).view(shape)
        entries = values.new_zeros(math.prod(shape))
        of_entries = values.repeat_interleave(self.index.shape[1])
        return entries.index_copy_(0, self.index.flatten(), of_entries).view(shape)

    def rows(self, weight: Tensor) -> Tensor:
        """Return the entries of a weight as (units, n), those of a unit in a row."""
        rows = weight.movedim(self.dim, 0).flatten(1)
        # Not rows[index], which a captured step must not hold: its result could have any shape.
        rows = rows if self.in_order else rows.index_select(0, self.index.flatten())
        return rows.reshape(len(self.index), -1)


@dataclass(frozen=True, eq=False)
class HiddenUnits:
    """The hidden units of one layer, a linear layer or a convolution."""

    name: str
    """Of the layer, as in `model.named_modules()`."""
    incoming: UnitEntries
    """The layer itself: its weight, and its bias if it has one."""
    norms: tuple[UnitEntries, ...]
    """The normalizations that follow, usually one or none."""
    outgoing: tuple[UnitEntries, ...]
    """The layers that the units feed. What enters the first of them, after normalization and nonlinearity, is
    the units' activation."""

    def __len__(self) -> int:
        """Return the number of units."""
        return len(self.incoming.index)

    @property
    def weight(self) -> Parameter:
        """Return the incoming weights; dimension `incoming.dim` indexes the units."""
        weight: Parameter = self.incoming.module.weight
        return weight

    def outgoing_rows(self) -> Tensor:
        """Return the outgoing weights as (units, n), those of a unit in a row."""
        return torch.cat([part.rows(part.module.weight) for part in self.outgoing], 1)

    def rotated(self, weight: Tensor, shift: Tensor) -> Tensor:
        """Return incoming weights in which each unit has those of the unit `shift` places on."""
        unit = torch.arange(len(self), device=weight.device) + shift.long()
        return weight.index_select(self.incoming.dim, unit % len(self))

    def activations(self, x: Tensor) -> Tensor:
        """Return the activations (b, units, positions) in x, the input of the first layer that they feed."""
        first = self.outgoing[0]
        if isinstance(first.module, nn.Linear):
            x = x.movedim(-1, 1)
        features = x.flatten(2) if x.dim() > 2 else x[..., None]
        features = features if first.in_order else features.index_select(1, first.index.flatten())
        activations: Tensor = features.unflatten(1, first.index.shape).flatten(2)
        return activations


def hidden_units(
    model: nn.Module, shape: tuple[int, ...], declared: Declared | None = None
) -> list[HiddenUnits]:
    """Return the layers of hidden units of a model for images of `shape` (c, h, w), in the model's order.

    `declared` is `hidden_units` of the architecture; without it, the first call for an architecture runs a
    copy on two black images. Raises RequestError if a layer computes its weight, if the model cannot be
    followed, or if it has no such units, with the reason for each layer.
    """
    check_plain(model)
    traced = _declared(model, declared) if declared is not None else _traced(model, shape)
    modules = dict(model.named_modules())
    device = next(model.parameters()).device

    def entries(place: Place) -> UnitEntries:
        module = modules[place.module]
        dim = 0 if isinstance(module, NORMS) else 1 - unit_dim(module)
        return _entries(module, dim, place.index, device)

    return [
        HiddenUnits(
            name=units.layer,
            incoming=_own(modules[units.layer], device),
            norms=tuple(map(entries, units.norms)),
            outgoing=tuple(map(entries, units.outgoing)),
        )
        for units in traced
    ]


def unsupported_units(task: Task) -> str | None:
    """Return why a method cannot act on the hidden units of a task's model, or None: for `unsupported`."""
    if not isinstance(task, ClassificationTask):  # it is found out when a run starts
        return None
    key = repr(task.architecture), type(task.architecture), task.input_shape(), task.output_classes()
    if key not in _reasons:  # to build a large model takes seconds
        try:
            hidden_units(task.model(), task.input_shape(), task.architecture.hidden_units)
            _reasons[key] = None
        except RequestError as error:
            _reasons[key] = str(error)
    return _reasons[key]


def _own(layer: Any, device: torch.device) -> UnitEntries:  # noqa: ANN401 - a layer of any class
    dim = unit_dim(layer)
    return _entries(layer, dim, torch.arange(layer.weight.shape[dim])[:, None], device)


def _entries(module: Any, dim: int, index: Tensor, device: torch.device) -> UnitEntries:  # noqa: ANN401
    size = module.weight.shape[dim] if not isinstance(module, NORMS) else index.numel()
    in_order = torch.equal(index.flatten(), torch.arange(size))
    return UnitEntries(module, dim, index.to(device), in_order)


def _traced(model: nn.Module, shape: tuple[int, ...]) -> list[TracedUnits]:
    key = architecture_key(model), shape
    if key not in _traces:
        try:
            _traces[key] = trace_units(model, shape)
        except Exception as error:  # a plug-in's model may do anything
            raise RequestError(_declare(f"{type(error).__name__}: {error}")) from error
    trace = _traces[key]
    if not trace.layers:
        reasons = "; ".join(f"{layer!r}: {reason}" for layer, reason in trace.left_out.items())
        raise RequestError(_declare(reasons or "it has no linear layer and no convolution"))
    return trace.layers


def _declare(reason: str) -> str:
    return (
        f"no layer of hidden units is found in the model ({reason}): if there is one, name what it feeds "
        'in the architecture, as in hidden_units = {"fc1": ("norm1", "fc2")}'
    )


def _declared(model: nn.Module, declared: Declared) -> list[TracedUnits]:
    """Return the layers that an architecture names; the features of each unit lie side by side."""
    modules = dict(model.named_modules())
    found = []
    for layer, fed in declared.items():
        for name in (layer, *fed):
            if name not in modules:
                raise unknown("layer of the model in hidden_units", name, modules)
        own = modules[layer]
        count = own.weight.shape[unit_dim(own)] if is_layer_of_units(own) else 0
        places = [Place(name, _consecutive(modules[name], count, layer, name)) for name in fed]
        norms = tuple(place for place in places if isinstance(modules[place.module], NORMS))
        outgoing = tuple(place for place in places if not isinstance(modules[place.module], NORMS))
        if not outgoing:
            raise RequestError(f'hidden_units names no layer that {layer!r} feeds: add it, as in "fc2"')
        found.append(TracedUnits(layer, norms, outgoing))
    return found


def _consecutive(module: Any, units: int, layer: str, name: str) -> Tensor:  # noqa: ANN401
    """Return the entries (units, k) of the inputs of `module`, of which each unit has k side by side."""
    size = 0
    if isinstance(module, NORMS):
        size = next(
            (p.numel() for p in (module.weight, getattr(module, "running_mean", None)) if p is not None), 0
        )
    elif is_layer_of_units(module):
        size = module.weight.shape[1 - unit_dim(module)]
    if not units or not size or size % units:
        raise RequestError(
            f"hidden_units of the architecture says that {layer!r} feeds {name!r}, but {units} units do not "
            f"fit {size} inputs: both must be linear layers or convolutions; a normalization can be fed, too"
        )
    return torch.arange(size).view(units, -1)
