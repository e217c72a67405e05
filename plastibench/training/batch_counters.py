"""The counters of batches of batch normalization layers, all raised by one operation after a pass.

Otherwise each layer raises its own by a kernel of its own, for a number that only `momentum=None` reads.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase

from plastibench.training.batch_norm import training_batch_norms
from plastibench.training.flops import meta_copy


@dataclass
class _Calls:
    """Takes the place of a layer's counter during a pass, and counts on the host."""

    number: int = 0

    def add_(self, number: int) -> None:
        """Count, as torch's layer asks its counter to."""
        self.number += number


class BatchCounters:
    """Counts the batches of a model within a stage."""

    def __init__(self) -> None:
        self._traced: dict[tuple[object, ...], list[int] | None] = {}

    @contextmanager
    def eager(self, model: nn.Module) -> Iterator[None]:
        """Count the calls of each layer during the pass in the context."""
        norms = _counting_norms(model)
        calls = [_Calls() for _ in norms]
        with _replaced(norms, calls) as counters:
            yield
        _raise(counters, [one.number for one in calls])

    @contextmanager
    def compiled(self, model: nn.Module, shape: torch.Size) -> Iterator[None]:
        """Hide the counters from a compiler, and count a pass of images of `shape` as it was traced."""
        norms = _counting_norms(model)
        key = (*norms, shape)
        if key not in self._traced:
            self._traced[key] = _trace(model, shape)
        numbers = self._traced[key]
        if numbers is None:  # the layers count themselves
            yield
            return
        with _replaced(norms, [None] * len(norms)) as counters:
            yield
        _raise(counters, numbers)


def _counting_norms(model: nn.Module) -> list[_NormBase]:
    """Return the layers in training mode whose forward pass does nothing with a counter but add 1 to it."""
    return [
        norm
        for norm in training_batch_norms(model)
        if getattr(norm.forward, "__func__", None) is _BatchNorm.forward
        and norm.momentum is not None
        and norm.track_running_stats
        and norm.num_batches_tracked is not None
    ]


@contextmanager
def _replaced(norms: Sequence[_NormBase], stand_ins: Sequence[_Calls | None]) -> Iterator[list[Tensor]]:
    """Yield the layers' counters, in whose places are the stand-ins until the end."""
    counters = [norm.num_batches_tracked for norm in norms if norm.num_batches_tracked is not None]
    for norm, stand_in in zip(norms, stand_ins, strict=True):
        norm._buffers["num_batches_tracked"] = stand_in  # type: ignore[assignment]
    try:
        yield counters
    finally:
        for norm, counter in zip(norms, counters, strict=True):
            norm._buffers["num_batches_tracked"] = counter


def _raise(counters: Sequence[Tensor], numbers: Sequence[int]) -> None:
    totals = Counter[Tensor]()  # layers may share a counter
    for counter, number in zip(counters, numbers, strict=True):
        totals[counter] += number
    if any(totals.values()):
        torch._foreach_add_(list(totals), list(totals.values()))


def _trace(model: nn.Module, shape: torch.Size) -> list[int] | None:
    """Return how often a pass calls each counting layer, or None if the model cannot be traced."""
    # A plug-in's model may do anything; failing to trace it must not end the run.
    try:
        traced = meta_copy(model)
        norms = _counting_norms(traced)
        calls = [_Calls() for _ in norms]
        with torch.no_grad(), torch.random.fork_rng(devices=[]), _replaced(norms, calls):
            traced(torch.empty(shape, device="meta"))
    except Exception:
        return None
    return [one.number for one in calls]
