"""Count the FLOPs of a pass through a model: traced once on a copy without data, then multiplied.

Two sums are kept apart. `matrix` is what torch's own counter counts: matrix products, convolutions and
attention, a multiply-add as two. `elementwise` is an estimate of everything else (normalization,
activations, pooling, the loss, the optimizer's update): one for each element that an operation writes.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Collection, Container, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import compress
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from plastibench.training.optimizers import build_optimizer

if TYPE_CHECKING:
    from plastibench.plugins.recipe import Recipe

SMALL, LARGE = 2, 4
"""Batch sizes of the two traces: batch normalization rejects batches of one."""

_WORDS = "empty|zeros?|ones|fill|copy|clone|detach|view|reshape|full"
NO_ARITHMETIC = re.compile(f"({_WORDS}).*|.*_({_WORDS})")
"""Names of operations that create, copy or reshape tensors."""


@dataclass(frozen=True)
class Flops:
    """A number of FLOPs."""

    matrix: int
    elementwise: int

    def __mul__(self, factor: int) -> Flops:
        """Return the FLOPs multiplied by a factor."""
        return Flops(self.matrix * factor, self.elementwise * factor)

    def __add__(self, other: Flops) -> Flops:
        """Return the sum."""
        return Flops(self.matrix + other.matrix, self.elementwise + other.elementwise)


@dataclass(frozen=True)
class FlopModel:
    """FLOPs as a linear function of the batch size."""

    per_call: Flops
    per_example: Flops

    def flops(self, batch_size: int) -> Flops:
        """Return the FLOPs of one call on a batch."""
        return self.per_call + self.per_example * batch_size


def add_flops(a: Flops | None, b: Flops | None) -> Flops | None:
    """Return the sum, or None if one of the two could not be counted."""
    return None if a is None or b is None else a + b


_flop_models: dict[Any, FlopModel | None] = {}
_update_flops: dict[Any, Flops | None] = {}
_reprs: WeakKeyDictionary[nn.Module, str] = WeakKeyDictionary()


def flop_model(model: nn.Module, shape: tuple[int, ...], *, backward: bool) -> FlopModel | None:
    """Return the FLOPs of a pass of (b, *shape) images, with or without the backward pass.

    Returns None if the model cannot be traced. The first call for an architecture traces a copy on torch's
    meta device, where nothing is computed and nothing drawn; later calls look the result up.
    """
    key = (architecture_key(model), shape, backward)
    if key not in _flop_models:
        _flop_models[key] = _trace_model(model, shape, backward)
    return _flop_models[key]


def pass_flops(model: nn.Module, shape: tuple[int, ...], *, backward: bool) -> Flops | None:
    """Return the FLOPs of one pass of a batch of `shape`, (b, c, h, w), or None if it cannot be traced."""
    traced = flop_model(model, shape[1:], backward=backward)
    return None if traced is None else traced.flops(shape[0])


def cached_pass_flops(model: nn.Module, *, backward: bool) -> Callable[[torch.Size], Flops | None]:
    """Return `pass_flops` of one model, looked up once per batch shape.

    Valid as long as the model keeps its layers, modes and trainable weights.
    """
    return cache(lambda shape: pass_flops(model, shape, backward=backward))


def update_flops(model: nn.Module, recipe: Recipe, matrices: Collection[Tensor] = ()) -> Flops | None:
    """Return the FLOPs of one update of the weights by the recipe's optimizer.

    `matrices` are those weights that it updates by a rule of their own, if it has one.
    """
    rule = (recipe.optimizer, recipe.momentum, recipe.weight_decay, recipe.adaptive)
    is_matrix = [weight in matrices for weight in model.parameters()]
    key = (_weights_key(model), rule, tuple(is_matrix))
    if key not in _update_flops:
        _update_flops[key] = _trace_update(model, recipe, is_matrix)
    return _update_flops[key]


def architecture_key(model: nn.Module) -> Any:  # noqa: ANN401 - a key
    """Return everything that tells models of different cost apart: layers and settings, modes, weights."""
    if model not in _reprs:
        _reprs[model] = repr(model)
    layers = tuple((type(module), _settings(module)) for module in model.modules())
    return _reprs[model], layers, _weights_key(model)


def _settings(module: nn.Module) -> tuple[tuple[str, Any], ...]:
    """Return the attributes of a module that can change what it computes, its mode included."""
    return tuple((name, value) for name, value in vars(module).items() if type(value) in (bool, int, str))


def _weights_key(model: nn.Module) -> tuple[tuple[torch.Size, bool], ...]:
    return tuple((p.shape, p.requires_grad) for p in model.parameters())


def _trace_model(model: nn.Module, shape: tuple[int, ...], backward: bool) -> FlopModel | None:
    # A plug-in's model may do anything; failing to trace it must not end the run.
    try:
        small, large = (_trace_pass(meta_copy(model), (size, *shape), backward) for size in (SMALL, LARGE))
    except Exception:
        return None
    step = LARGE - SMALL
    matrix, elementwise = large.matrix - small.matrix, large.elementwise - small.elementwise
    per_example = Flops(matrix // step, elementwise // step)
    return FlopModel(small + per_example * -SMALL, per_example)


def _trace_pass(model: nn.Module, shape: tuple[int, ...], backward: bool) -> Flops:
    x = torch.empty(shape, device="meta")
    y = torch.empty(shape[0], device="meta", dtype=torch.long)

    def run() -> None:
        with torch.set_grad_enabled(backward):
            loss = F.cross_entropy(model(x), y)
            if backward:
                loss.backward()

    return _count(run)


def _trace_update(model: nn.Module, recipe: Recipe, is_matrix: Sequence[bool]) -> Flops | None:
    try:
        traced = list(meta_copy(model).parameters())
        matrices = set(compress(traced, is_matrix))
        weights = [p for p in traced if p.requires_grad]
        for weight in weights:
            weight.grad = torch.empty_like(weight)
        optimizer = build_optimizer(recipe, weights, matrices=lambda: matrices)
        loss = torch.zeros((), device="meta")

        def update() -> None:
            optimizer.step(lambda: loss)  # type: ignore[arg-type, return-value]

        update()  # the first step creates momentum and moments
        return _count(update)
    except Exception:
        return None


def meta_copy(model: nn.Module) -> nn.Module:
    """Return a copy with the same layers and modes whose weights and buffers hold no data."""
    memo: dict[int, Any] = {}
    for weight in model.parameters():
        memo[id(weight)] = nn.Parameter(torch.empty_like(weight, device="meta"), weight.requires_grad)
    for buffer in model.buffers():
        memo[id(buffer)] = torch.empty_like(buffer, device="meta")
    return copy.deepcopy(model, memo)


def _count(function: Callable[[], None]) -> Flops:
    """Return the FLOPs of a call, which leaves torch's global random state as it was."""
    from torch.utils.flop_counter import FlopCounterMode, flop_registry  # late: takes 0.25 s

    with (
        torch.random.fork_rng(devices=[]),
        _ElementCounter(flop_registry) as elements,
        FlopCounterMode(display=False) as matrix,
    ):
        function()
    return Flops(matrix.get_total_flops(), elements.count)


class ProductCounter(TorchDispatchMode):
    """Counts the FLOPs of matrix products, convolutions and attention as they are computed, in `flops`."""

    def __init__(self) -> None:
        from torch.utils.flop_counter import flop_registry  # late: takes 0.25 s

        super().__init__()  # type: ignore[no-untyped-call]
        self._formulas, self.flops = flop_registry, 0

    # torch passes whatever an operation takes.
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        formula = self._formulas.get(func._overloadpacket)
        if formula is not None and not any(t.is_meta for t in tree_leaves(out) if isinstance(t, Tensor)):
            self.flops += formula(*args, **kwargs, out_val=out)
        return out


class _ElementCounter(TorchDispatchMode):
    """Counts the elements written by operations that torch's counter leaves out; views write none."""

    def __init__(self, counted_by_torch: Container[object]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counted_by_torch, self.count = counted_by_torch, 0

    # torch passes whatever an operation takes.
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        out = func(*args, **(kwargs or {}))
        name = func._overloadpacket.__name__.strip("_")
        counted = func._overloadpacket in self.counted_by_torch or NO_ARITHMETIC.fullmatch(name)
        if not func.is_view and not counted:
            self.count += sum(item.numel() for item in tree_leaves(out) if isinstance(item, Tensor))
        return out
