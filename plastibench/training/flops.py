"""How much arithmetic a pass through a model is: traced once on a copy without data, then multiplied.

Two sums are kept apart. `matrix` is what torch's own counter knows: matrix products, convolutions and
attention, a multiply-add counted as two. `elementwise` is an estimate of all else (normalization,
activations, pooling, the loss, the optimizer's update): one for each element that an operation writes.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, flop_registry

if TYPE_CHECKING:
    from plastibench.plugins.recipe import Recipe

SMALL, LARGE = 2, 4
"""Batch sizes of the two traces: batch normalization refuses batches of one."""


@dataclass(frozen=True)
class Flops:
    """FLOPs."""

    matrix: int
    elementwise: int

    def __mul__(self, times: int) -> Flops:
        """Return the work done `times` over."""
        return Flops(self.matrix * times, self.elementwise * times)

    def __add__(self, other: Flops) -> Flops:
        """Return the sum."""
        return Flops(self.matrix + other.matrix, self.elementwise + other.elementwise)


ZERO_FLOPS: Flops | None = Flops(0, 0)


def add_flops(one: Flops | None, other: Flops | None) -> Flops | None:
    """Return the sum; None, what could not be counted, makes it None."""
    return None if one is None or other is None else one + other


@dataclass(frozen=True)
class FlopModel:
    """Work as a function of the batch size: a part for each call, and a part for each example."""

    per_call: Flops
    per_example: Flops

    def flops(self, examples: int) -> Flops:
        """Return the work of one call on a batch."""
        return self.per_call + self.per_example * examples


_laws: dict[Any, FlopModel | None] = {}
_texts: WeakKeyDictionary[nn.Module, str] = WeakKeyDictionary()


def flop_model(model: nn.Module, shape: tuple[int, ...], *, backward: bool) -> FlopModel | None:
    """Return the work of a pass of (b, *shape) images, with or without the way back to the weights.

    None where the model cannot be traced: it is then "absent". The first call for a kind of model
    traces a copy on torch's meta device, where nothing is computed and nothing drawn; later ones look it up.
    """
    key = (_kind(model), shape, backward)
    if key not in _laws:
        _laws[key] = _traced(model, shape, backward)
    return _laws[key]


def pass_flops(model: nn.Module, shape: tuple[int, ...], *, backward: bool) -> Flops | None:
    """Return the work of one pass of a batch of `shape`, (b, c, h, w); None where it cannot be traced."""
    law = flop_model(model, shape[1:], backward=backward)
    return None if law is None else law.flops(shape[0])


def cached_pass_flops(model: nn.Module, *, backward: bool) -> Callable[[torch.Size], Flops | None]:
    """Return `pass_work` of one model for many batches: looked up once for each shape.

    Valid as long as the model's layers, modes and weights are the same ones.
    """
    return cache(lambda shape: pass_flops(model, shape, backward=backward))


def update_flops(model: nn.Module, recipe: Recipe) -> Flops | None:
    """Return the work of one update of the weights by the recipe's optimizer."""
    weights = tuple((p.shape, p.requires_grad) for p in model.parameters())
    rule = (recipe.optimizer, recipe.momentum, recipe.weight_decay, recipe.adaptive)
    key = (weights, rule)
    if key not in _laws:
        work = _traced_update(model, recipe)
        _laws[key] = None if work is None else FlopModel(work, Flops(0, 0))
    law = _laws[key]
    return None if law is None else law.per_call


def _kind(model: nn.Module) -> Any:  # noqa: ANN401 - a key
    """Return all that tells models of different work apart: layers and settings, modes, weights."""
    if model not in _texts:
        _texts[model] = repr(model)
    layers = tuple((type(module), module.training) for module in model.modules())
    return _texts[model], layers, tuple((p.shape, p.requires_grad) for p in model.parameters())


def _traced(model: nn.Module, shape: tuple[int, ...], backward: bool) -> FlopModel | None:
    # A plug-in's model may do anything: that it cannot be traced must not end a run.
    try:
        small, large = (_trace(_shadow(model), (batch, *shape), backward) for batch in (SMALL, LARGE))
    except Exception:
        return None
    matrix, elementwise = (
        (b - a) // (LARGE - SMALL)
        for a, b in ((small.matrix, large.matrix), (small.elementwise, large.elementwise))
    )
    example = Flops(matrix, elementwise)
    call = Flops(small.matrix - SMALL * matrix, small.elementwise - SMALL * elementwise)
    return FlopModel(call, example)


def _trace(model: nn.Module, shape: tuple[int, ...], backward: bool) -> Flops:
    x = torch.empty(shape, device="meta")
    y = torch.empty(shape[0], device="meta", dtype=torch.long)
    with _counting() as found, torch.set_grad_enabled(backward):
        loss = F.cross_entropy(model(x), y)
        if backward:
            loss.backward()
    return found[0]


def _traced_update(model: nn.Module, recipe: Recipe) -> Flops | None:
    from plastibench.training import optimizers

    try:
        weights = [p for p in _shadow(model).parameters() if p.requires_grad]
        for weight in weights:
            weight.grad = torch.empty_like(weight)
        optimizer = optimizers.build_optimizer(recipe, weights)
        nothing = torch.zeros((), device="meta")
        # The first step makes momentum and moments.
        optimizer.step(lambda: nothing)  # type: ignore[arg-type, return-value]
        with _counting() as found:
            optimizer.step(lambda: nothing)  # type: ignore[arg-type, return-value]
    except Exception:
        return None
    return found[0]


def _shadow(model: nn.Module) -> nn.Module:
    """Return a copy with the same layers and modes whose weights and buffers hold no numbers."""
    memo: dict[int, Any] = {}
    for weight in model.parameters():
        memo[id(weight)] = nn.Parameter(torch.empty_like(weight, device="meta"), weight.requires_grad)
    for buffer in model.buffers():
        memo[id(buffer)] = torch.empty_like(buffer, device="meta")
    return copy.deepcopy(model, memo)


@contextmanager
def _counting() -> Iterator[list[Flops]]:
    """Count, inside; the list holds the sum afterwards. torch's global stream is as it was before."""
    found: list[Flops] = []
    with torch.random.fork_rng(devices=[]), _Elements() as elements, FlopCounterMode(display=False) as matrix:
        yield found
    found.append(Flops(matrix.get_total_flops(), elements.count))


class _Elements(TorchDispatchMode):
    """Counts the elements written by operations that torch's counter leaves out; views write none."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0

    # torch calls it with whatever an operation takes.
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        out = func(*args, **(kwargs or {}))
        if not func.is_view and func._overloadpacket not in flop_registry and not _moves(func):
            self.count += sum(item.numel() for item in tree_leaves(out) if isinstance(item, Tensor))
        return out


def _moves(func: Any) -> bool:  # noqa: ANN401 - an operation of torch
    """Return whether an operation makes, copies or reshapes without arithmetic."""
    words = ("empty", "zeros", "ones", "fill", "copy", "clone", "detach", "view", "reshape", "full", "zero")
    name = func._overloadpacket.__name__.strip("_")
    return any(name.startswith(word) or name.endswith(f"_{word}") for word in words)
