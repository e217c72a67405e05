"""Running statistics of batch normalization."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def batch_norms(model: nn.Module) -> list[_BatchNorm]:
    """Return the batch normalization layers of a model."""
    return [module for module in model.modules() if isinstance(module, _BatchNorm)]


def training_batch_norms(model: nn.Module) -> list[_BatchNorm]:
    """Return the batch normalization layers that are in training mode."""
    return [norm for norm in batch_norms(model) if norm.training]


@contextmanager
def frozen_batch_norm_statistics(model: nn.Module) -> Iterator[None]:
    """Normalize by the batch as in training, but do not update the running statistics."""
    norms = batch_norms(model)
    tracked = [norm.track_running_stats for norm in norms]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm, track in zip(norms, tracked, strict=True):
            norm.track_running_stats = track


@contextmanager
def averaged_batch_norm_statistics(model: nn.Module) -> Iterator[None]:
    """Reset the running statistics, which in the context become plain averages over the batches.

    The same as torch's `momentum=None`, which makes the host wait for a counter at every layer and batch.
    Puts the model in training mode; a layer that it keeps in evaluation mode keeps its statistics.
    """
    norms, calls = training_batch_norms(model.train()), Counter[nn.Module]()
    momenta = [norm.momentum for norm in norms]

    def before_forward(norm: _BatchNorm, inputs: tuple[Tensor, ...]) -> None:
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
