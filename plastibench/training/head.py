"""The output layer of a model: named by its architecture, or found by what it returns."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from plastibench.errors import RequestError
from plastibench.plugins.layers import LAYERS, check_plain
from plastibench.training.flops import architecture_key

_found: dict[Any, str] = {}


def find_head(model: nn.Module, shape: tuple[int, ...]) -> str:
    """Return the name of the layer whose output is that of the model, for examples of `shape`, as (c, h, w).

    The first call for an architecture passes two examples of zeros through a copy on the CPU, whatever device
    the model is on, and leaves torch's global random state as it was. Raises RequestError if there is no
    such layer, or if a layer computes its weight.
    """
    check_plain(model)
    key = architecture_key(model), shape
    if key not in _found:
        _found[key] = _trace_head(model, shape)
    return _found[key]


def _trace_head(model: nn.Module, shape: tuple[int, ...]) -> str:
    outputs: dict[str, Any] = {}
    reason = "the output of the model is not that of one layer"
    logits: Tensor | None = None

    def watch(name: str, module: nn.Module) -> None:
        if isinstance(module, LAYERS):
            module.register_forward_hook(lambda _, __, output: outputs.update({name: output}))

    try:
        logits = pass_zeros(model, shape, watch)
    except RequestError as error:
        reason = str(error)
    for name, output in outputs.items():
        if output is logits:
            return name
    raise RequestError(
        f'the head is not known, because {reason}: name it in the architecture, as in head = "fc"'
    )


def pass_zeros(model: nn.Module, shape: tuple[int, ...], watch: Callable[[str, nn.Module], None]) -> Tensor:
    """Return the logits of two examples of zeros of `shape`, by a copy of the model on the CPU.

    `watch` may register hooks on each named module of the copy. torch's global random state stays as it was.
    Raises RequestError if the model fails.
    """
    try:
        # Not on the meta device: its batch normalization imports torch's compiler, which takes a second.
        traced = copy.deepcopy(model).cpu().float().eval()
        for name, module in traced.named_modules():
            watch(name, module)
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            logits: Tensor = traced(torch.zeros((2, *shape)))
    except Exception as error:
        raise RequestError(
            f"the model fails on two examples of zeros ({type(error).__name__}: {error})"
        ) from error
    return logits
