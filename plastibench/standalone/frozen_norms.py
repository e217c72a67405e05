"""Batch normalization whose running statistics are not to move."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from plastibench.training.batch_norm import batch_norms


def frozen_norms(model: nn.Module, *, trains: bool) -> list[_NormBase]:
    """Return the layers whose own weights are not trained, or that are in evaluation mode though `trains`.

    `trains` is whether the model was in training mode when a remedy began to act.
    """
    norms = batch_norms(model)
    fixed = [n for n in norms if n.affine and not any(p.requires_grad for p in n.parameters())]
    return fixed + [n for n in norms if n not in fixed and trains and not n.training]


@contextmanager
def kept_in_evaluation(norms: Sequence[nn.Module]) -> Iterator[None]:
    """Let layers stay in evaluation mode, whatever mode the model is put in."""
    modes = [norm.training for norm in norms]
    for norm in norms:
        norm.eval()
        norm.train = _returning(norm)  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        for norm, mode in zip(norms, modes, strict=True):
            del norm.train
            norm.training = mode


def _returning(module: nn.Module) -> Callable[[bool], nn.Module]:
    """Return a `train` that leaves the mode as it is."""

    def train(mode: bool = True) -> nn.Module:
        return module

    return train
