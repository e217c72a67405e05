"""Watch the activations of hidden units during a forward pass, and leave nothing behind in the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from plastibench.training.hidden_units import HiddenUnits


@contextmanager
def watch_activations(layers: Sequence[HiddenUnits]) -> Iterator[list[Tensor]]:
    """Watch one forward pass in the context, and yield a list that holds the activations after it.

    One tensor (b, units, positions) for each layer, without gradient: what the units put into their next
    weights, after normalization and nonlinearity. Hooks are in the model within the context only.
    """
    inputs: dict[int, Tensor] = {}
    activations: list[Tensor] = []

    def hook(number: int) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def keep(module: nn.Module, args: tuple[Any, ...]) -> None:
            if not args[0].is_meta:  # FLOPs are counted on a copy without data, which has this hook too
                inputs[number] = args[0].detach()

        return keep

    handles = [
        units.outgoing[0].module.register_forward_pre_hook(hook(number))
        for number, units in enumerate(layers)
    ]
    try:
        yield activations
    finally:
        for handle in handles:
            handle.remove()
    activations += [units.activations(inputs[number]) for number, units in enumerate(layers)]
