"""The batches of a data set of somebody's own, checked while they are read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from plastibench.data.described import described, is_own, named
from plastibench.errors import RequestError

if TYPE_CHECKING:
    from plastibench.data.dataset import Batch, Dataset

PIXELS = (torch.uint8, torch.bool)
"""Types of images that nothing has prepared for a model."""


def checked(data: Dataset, batches: Any) -> Iterator[Batch]:  # noqa: ANN401 - whatever a plug-in returns
    """Return the batches that a data set returns; those of a class that is not shipped are checked.

    Raises RequestError, which names the class and its file, for what is no batch of its examples.
    """
    return _checked(data, batches) if is_own(type(data)) else iter(batches)


def _checked(data: Dataset, batches: Any) -> Iterator[Batch]:  # noqa: ANN401 - as above
    what, shape, total = f"batches of {named(type(data))}", tuple(data.shape), 0
    if not isinstance(batches, Iterable):
        raise RequestError(f"{what} returns {described(batches)}: it must yield pairs (examples, labels)")
    for batch in batches:
        problem = batch_problem(batch, shape)
        if problem is not None:
            raise RequestError(f"{what} yields {problem}")
        total += len(batch[1])
        yield batch
    if total != len(data):
        raise RequestError(
            f"{what} yields {total:,} examples in all: it must yield each of {len(data):,} once"
        )


def batch_problem(batch: Any, shape: tuple[int, ...]) -> str | None:  # noqa: ANN401 - whatever a plug-in yields
    """Return what is wrong with a batch, and what it must be, or None."""
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        return f"{described(batch)}: it must yield pairs (examples, labels)"
    x, y = batch
    if not isinstance(y, Tensor) or y.dtype != torch.int64 or y.ndim != 1:
        return f"labels that are {described(y)}: they must be a tensor of shape (b,), int64"
    expected = (len(y), *shape)
    if not isinstance(x, Tensor) or tuple(x.shape) != expected or x.dtype in PIXELS:
        found = f"{described(x)}, with {len(y)} labels"
        return f"examples that are {found}: they must be a tensor of shape {expected}, float32"
    return None
