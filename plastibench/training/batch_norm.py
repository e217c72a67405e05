"""Running statistics of batch normalization, and of instance normalization that tracks them."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase
from torch.nn.modules.instancenorm import _InstanceNorm


def batch_norms(model: nn.Module) -> list[_NormBase]:
    """Return the layers of a model that have running statistics."""
    norms = (module for module in model.modules() if isinstance(module, _NormBase))
    return [norm for norm in norms if norm.running_mean is not None]


def training_batch_norms(model: nn.Module) -> list[_NormBase]:
    """Return the layers with running statistics that are in training mode."""
    return [norm for norm in batch_norms(model) if norm.training]


@contextmanager
def frozen_batch_norm_statistics(model: nn.Module) -> Iterator[None]:
    """Normalize by the batch as in training, but do not update the running statistics."""
    # torch's instance normalization updates the statistics that it has, whether or not it is to track them.
    frozen = [
        (norm, "momentum", 0.0) if isinstance(norm, _InstanceNorm) else (norm, "track_running_stats", False)
        for norm in batch_norms(model)
    ]
    before = [getattr(norm, name) for norm, name, _ in frozen]
    for norm, name, value in frozen:
        setattr(norm, name, value)
    try:
        yield
    finally:
        for (norm, name, _), value in zip(frozen, before, strict=True):
            setattr(norm, name, value)


@dataclass
class _Calls:
    """Takes the place of a layer's counter of batches during a pass, and counts on the host."""

    number: int = 0

    def add_(self, number: int) -> None:
        """Count, as torch's layer asks its counter to."""
        self.number += number


@contextmanager
def batches_counted_together(model: nn.Module) -> Iterator[None]:
    """Let the layers' counters of batches rise after the pass in the context, all by one operation.

    Otherwise each layer does it by a kernel of its own, for a number that only `momentum=None` reads; layers
    that have that, or a forward pass of their own, count as they do.
    """
    norms = [norm for norm in training_batch_norms(model) if _only_counts(norm)]
    counters = [norm.num_batches_tracked for norm in norms if norm.num_batches_tracked is not None]
    calls = {counter: _Calls() for counter in counters}  # of which layers may share one
    for norm, counter in zip(norms, counters, strict=True):
        norm._buffers["num_batches_tracked"] = calls[counter]  # type: ignore[assignment]
    try:
        yield
    finally:
        for norm, counter in zip(norms, counters, strict=True):
            norm._buffers["num_batches_tracked"] = counter
    numbers = [counted.number for counted in calls.values()]
    if any(numbers):
        torch._foreach_add_(list(calls), numbers)


def _only_counts(norm: _NormBase) -> bool:
    """Return whether all that the layer's forward pass does with its counter is to add 1."""
    is_torchs = getattr(norm.forward, "__func__", None) is _BatchNorm.forward
    return is_torchs and norm.momentum is not None and norm.num_batches_tracked is not None


@contextmanager
def averaged_batch_norm_statistics(model: nn.Module) -> Iterator[None]:
    """Reset the running statistics, which in the context become plain averages over the batches.

    The same as torch's `momentum=None`, which makes the host wait for a counter at every layer and batch.
    Puts the model in training mode; a layer that it keeps in evaluation mode keeps its statistics.
    """
    norms, calls = training_batch_norms(model.train()), Counter[nn.Module]()
    momenta = [norm.momentum for norm in norms]

    def before_forward(norm: _NormBase, inputs: tuple[Tensor, ...]) -> None:
        calls[norm] += 1
        norm.momentum = 1 / calls[norm]

    handles = [norm.register_forward_pre_hook(before_forward) for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
    try:
        yield
    finally:
        for handle, norm, momentum in zip(handles, norms, momenta, strict=True):
            handle.remove()
            norm.momentum = momentum
