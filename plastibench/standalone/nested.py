"""Batches of any form: a tensor, or a mapping, tuple or list of them, with the examples along dimension 0.

A list is a batch whose examples have shapes of their own, one element each, as detectors take them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from plastibench.errors import RequestError


class NoTargets:
    """Stands for the targets of a batch that has none; its length is that of the batch."""

    def __init__(self, length: int) -> None:
        self._length = length

    def __len__(self) -> int:
        return self._length


def num_examples(x: object) -> int:
    """Return the number of examples of a batch. Raises RequestError if it is not known."""
    if isinstance(x, Mapping):
        sizes = [num_examples(value) for value in x.values() if not _is_scalar(value)]
    elif isinstance(x, tuple):
        sizes = [num_examples(value) for value in x if not _is_scalar(value)]
    elif isinstance(x, Tensor | list) and not _is_scalar(x):
        return len(x)
    else:
        raise RequestError(
            f"batches must yield (inputs, targets) with inputs of tensors, not {type(x).__name__}"
        )
    if not sizes:
        raise RequestError("batches yield inputs without any tensor")
    return sizes[0]


def part(x: Any, start: int, end: int) -> Any:  # noqa: ANN401 - a batch of any form
    """Return examples [start, end) of a batch."""
    if isinstance(x, Mapping):
        return {name: part(value, start, end) for name, value in x.items()}
    if isinstance(x, tuple):
        return tuple(part(value, start, end) for value in x)
    return x if _is_scalar(x) else x[start:end]


def on_device(x: Any, device: torch.device) -> Any:  # noqa: ANN401 - a batch of any form
    """Return a batch with its tensors on a device."""
    if isinstance(x, Tensor):
        return x.to(device, non_blocking=True)
    if isinstance(x, Mapping):
        return {name: on_device(value, device) for name, value in x.items()}
    if isinstance(x, list | tuple):
        return type(x)(on_device(value, device) for value in x)
    return x


def can_be_joined(parts: Sequence[object]) -> bool:
    """Return whether parts of batches are tensors of which one tensor can be made, or all None."""
    if all(one is None for one in parts):
        return True
    shapes = {(one.shape[1:], one.dtype) if isinstance(one, Tensor) and one.dim() else None for one in parts}
    return len(shapes) == 1 and None not in shapes


def joined(parts: Sequence[Any]) -> Any:  # noqa: ANN401 - a batch of any form
    """Return one batch of parts that can be joined."""
    return parts[0] if len(parts) == 1 or parts[0] is None else torch.cat(list(parts))


def _is_scalar(x: object) -> bool:
    return x.dim() == 0 if isinstance(x, Tensor) else not isinstance(x, Mapping | tuple | list)
