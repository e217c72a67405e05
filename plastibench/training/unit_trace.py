"""Follow the output of every layer through a model, to the layers that its units feed.

A model is run once on two black images while every value carries a tag: the number of the hidden unit that it
is a function of, or `NONE`. Functions that only move values move the tags, functions of single values keep
them, and whatever mixes units ends the trace of those that it mixes, with a reason.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map_only

from plastibench.plugins.layers import LAYERS, NORMS
from plastibench.training.unit_tags import (
    ELEMENTWISE,
    MOVES,
    NONE,
    POOLING,
    QUERIES,
    REDUCTIONS,
    common_tags,
    entries_of_units,
    feature_tags,
    is_layer_of_units,
    pooled_tags,
    reduced_tags,
)


@dataclass(frozen=True)
class Place:
    """Where the units of a layer are found in another module: entries (units, k) of one dimension."""

    module: str
    index: Tensor


@dataclass(frozen=True)
class TracedUnits:
    """A layer of hidden units, by the names of modules."""

    layer: str
    norms: tuple[Place, ...]
    outgoing: tuple[Place, ...]


@dataclass
class UnitTrace:
    """The layers of hidden units of a model, and why other layers have none."""

    layers: list[TracedUnits] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


def trace_units(model: nn.Module, shape: tuple[int, ...]) -> UnitTrace:
    """Return the layers of hidden units of a model for images of `shape` (c, h, w).

    Runs a copy on the CPU in evaluation mode, and leaves torch's global random state as it was.
    """
    # Not on the meta device: its batch normalization imports torch's compiler, which takes a second.
    traced = copy.deepcopy(model).cpu().float().eval()
    flow = _Flow(traced)
    x = torch.zeros((2, *shape))
    flow.tag(x, torch.full(x.shape, NONE))
    with torch.random.fork_rng(devices=[]), torch.no_grad(), flow:
        flow.lose(traced(x), "it returns the logits")
    return flow.result()


class _Flow(TorchFunctionMode):
    """Tags of all tensors during one run of a model."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.modules = {module: name for name, module in model.named_modules()}
        self.first: dict[str, int] = {}  # the tag of the first unit of each layer
        self.left_out: dict[str, str] = {}
        self._owners: list[str] = []  # by tag
        self._tags: dict[int, tuple[Tensor, Tensor]] = {}  # by id; holding the tensor keeps the id its own
        self._met: dict[str, list[Tensor]] = {}  # tags of the input features of each module, once per call
        self._inside = 0
        for module in self.modules:
            if isinstance(module, (*LAYERS, *NORMS)):
                module.register_forward_pre_hook(self._enter, with_kwargs=True)
                module.register_forward_hook(self._leave, with_kwargs=True)

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - whatever torch returns
        kwargs = kwargs or {}
        if self._inside:
            return func(*args, **kwargs)
        operands = [self._tags[id(t)][1] for t in tree_leaves((args, kwargs)) if id(t) in self._tags]
        out = func(*args, **kwargs)
        if operands:
            self._follow(func, args, kwargs, out, operands)
        return out

    def tag(self, tensor: Tensor, tags: Tensor) -> None:
        """Give a tensor its tags, of its shape."""
        self._tags[id(tensor)] = tensor, tags

    def lose(self, values: object, reason: str) -> None:
        """End the trace of the units that tagged tensors in `values` depend on."""
        for tensor in tree_leaves(values):
            if id(tensor) in self._tags:
                self._lose_tags(self._tags[id(tensor)][1], reason)

    def _lose_tags(self, tags: Tensor, reason: str) -> None:
        for layer in dict.fromkeys(self._owners[tag] for tag in tags.unique().tolist() if tag != NONE):
            self.left_out.setdefault(layer, reason)

    def _follow(self, func: Any, args: Any, kwargs: Any, out: Any, operands: list[Tensor]) -> None:  # noqa: ANN401
        name = getattr(func, "__name__", str(func))
        results = [t for t in tree_leaves(out) if isinstance(t, Tensor)]
        if not results and name in QUERIES:
            return
        name = name if name in MOVES else name.strip("_").removeprefix("i")
        tags: list[Tensor | None] = [None] * len(results)
        if name in MOVES:
            moved = func(*self._tags_of(args), **self._tags_of(kwargs))
            tags = list(tree_leaves(moved))
        elif name in ELEMENTWISE:
            tags = [common_tags([t.expand(result.shape) for t in operands]) for result in results]
        elif name in POOLING and len(results) == 1:
            tags = [pooled_tags(operands[0], results[0].shape)]
        elif name in REDUCTIONS and len(operands) == 1:
            tags = [reduced_tags(operands[0], *args[1:], **kwargs)]
        for result, of_result in zip(results, tags, strict=True):
            if of_result is None:
                for operand in operands:
                    self._lose_tags(operand, f"{name} mixes it with other values")
            self.tag(result, torch.full(result.shape, NONE) if of_result is None else of_result)

    def _tags_of(self, values: Any) -> Any:  # noqa: ANN401 - arguments of any function
        """Return arguments with tags in the place of tensors; constants belong to no unit."""

        def of(tensor: Tensor) -> Tensor:
            found = self._tags.get(id(tensor))
            return torch.full(tensor.shape, NONE) if found is None else found[1]

        return tree_map_only(Tensor, of, values)

    def _enter(self, module: nn.Module, args: Any, kwargs: Any) -> None:  # noqa: ANN401 - as torch calls it
        self._inside += 1
        if self._inside > 1:
            return
        name, inputs = self.modules[module], [t for t in tree_leaves((args, kwargs)) if id(t) in self._tags]
        features = None
        if len(inputs) == 1:
            features = feature_tags(module, self._tags[id(inputs[0])][1])
        if features is None:
            self.lose(inputs, f"it feeds {name!r}, a {type(module).__name__}")
            features = torch.full((0,), NONE)
        self._met.setdefault(name, []).append(features)

    def _leave(self, module: nn.Module, args: Any, kwargs: Any, out: Any) -> None:  # noqa: ANN401 - as torch calls it
        self._inside -= 1
        if self._inside:
            return
        for result in (t for t in tree_leaves(out) if isinstance(t, Tensor)):
            if isinstance(module, NORMS):
                tags = self._tags_of(args[0] if args else next(iter(kwargs.values())))
            elif is_layer_of_units(module):
                tags = self._new_tags(module, result)
            else:
                tags = torch.full(result.shape, NONE)
            self.tag(result, tags)

    def _new_tags(self, module: nn.Module, out: Tensor) -> Tensor:
        name, dim = self.modules[module], -1 if isinstance(module, nn.Linear) else 1
        size = out.shape[dim]
        if name not in self.first:
            self.first[name] = len(self._owners)
            self._owners += [name] * size
        shape = [1] * out.dim()
        shape[dim] = size
        return (self.first[name] + torch.arange(size)).view(shape).expand(out.shape)

    def result(self) -> UnitTrace:
        """Return the layers whose units were followed to trained layers that nothing else uses."""
        modules = {name: module for module, name in self.modules.items()}
        for name, reason in self._not_single(modules):
            self.left_out.setdefault(name, f"it {reason}")
            for features in self._met.get(name, ()):
                self._lose_tags(features, f"it feeds {name!r}, which {reason}")
        found = UnitTrace(left_out=self.left_out)
        for layer, first in self.first.items():
            count = self._owners.count(layer)
            places = list(self._places(first, count))
            norms = tuple(place for place in places if isinstance(modules[place.module], NORMS))
            outgoing = tuple(place for place in places if not isinstance(modules[place.module], NORMS))
            uneven = any(not place.index.numel() for place in places)
            if not outgoing or uneven:
                self.left_out.setdefault(layer, "its units feed no layer, or unequal parts of one")
            if layer not in self.left_out:
                found.layers.append(TracedUnits(layer, norms, outgoing))
        return found

    def _places(self, first: int, count: int) -> Iterator[Place]:
        for name, met in self._met.items():
            entries = entries_of_units(met[0], first, count)
            if entries is not None:
                yield Place(name, entries)

    def _not_single(self, modules: dict[str, nn.Module]) -> Iterator[tuple[str, str]]:
        """Yield the layers and norms that run twice, share a parameter or are not trained, with which."""
        uses: dict[nn.Parameter, int] = {}
        for module in modules.values():
            for parameter in module.parameters(recurse=False):
                uses[parameter] = uses.get(parameter, 0) + 1
        for name, met in self._met.items():
            parameters = list(modules[name].parameters(recurse=False))
            if len(met) > 1:
                yield name, "runs more than once"
            elif any(uses[parameter] > 1 for parameter in parameters):
                yield name, "shares a parameter"
            elif is_layer_of_units(modules[name]) and not modules[name].weight.requires_grad:
                yield name, "is not trained"
