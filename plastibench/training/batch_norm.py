"""Running statistics of batch normalization, and of instance normalization that tracks them."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
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
