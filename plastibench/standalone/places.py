"""Which of the state_dicts in a file are meant, and which of its tensors are those of a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from plastibench.errors import RequestError, unknown
from plastibench.standalone.checkpoint import Checkpoint
from plastibench.standalone.tensors import tensors_of

USUAL = ("model", "state_dict", "model_state_dict", "module", "net", "network", "weights", "optimizer")
"""Where most files have what is trained, beside averages and teachers."""


def model_place(checkpoint: Checkpoint, key: str | None, model: nn.Module | None) -> str:
    """Return the place of the state_dict that is named, or the only one, or the only one that fits a model.

    Raises RequestError if there is none, or if it is not known which one is meant.
    """
    found = checkpoint.models
    if key is None and model is not None and len(found) > 1:
        fitting = {place: tensors for place, tensors in found.items() if _fits(tensors, model)}
        found = fitting or found
    return _chosen(checkpoint, found, key, "state_dict of a model", "--model-key")


def optimizer_place(checkpoint: Checkpoint, key: str | None) -> str | None:
    """Return the place of the optimizer's state_dict, or None if there is none."""
    if key is None and not checkpoint.optimizers:
        return None
    return _chosen(checkpoint, checkpoint.optimizers, key, "state_dict of an optimizer", "--optimizer-key")


def of_model(tensors: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Return the tensors of a state_dict by their names in a model; in the file they may have a prefix.

    Raises RequestError if names or shapes differ.
    """
    own = tensors_of(model)
    first = next(name for name in own if not name.endswith("num_batches_tracked"))
    ends = [name for name in tensors if name == first or name.endswith(f".{first}")]
    if not ends:
        raise RequestError(
            f"{first} of the model is not in the file, which has {next(iter(tensors))} and others"
        )
    prefix = min(ends, key=len)[: -len(first)]
    given = {name.removeprefix(prefix): tensors[name] for name in tensors if name.startswith(prefix)}
    _check(given, own)
    return {name: tensor for name, tensor in given.items() if name in own}


def _check(given: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
    memory = {tensor.data_ptr(): name for name, tensor in own.items() if name in given}
    for name in {**own, **given}:
        if name not in own:
            raise RequestError(f"the file has {name}, and the model has not")
        tensor = own[name]
        if name not in given:  # a counter that old files lack, or a weight that is shared
            if not name.endswith("num_batches_tracked") and tensor.data_ptr() not in memory:
                raise RequestError(f"the model has {name}, and the file has not")
        elif given[name].shape != tensor.shape:
            shapes = [tuple(one.shape) for one in (given[name], tensor)]
            raise RequestError(f"{name} is of shape {shapes[0]} in the file, and {shapes[1]} in the model")


def _fits(tensors: Mapping[str, Tensor], model: nn.Module) -> bool:
    try:
        of_model(tensors, model)
    except RequestError:
        return False
    return True


def _chosen(checkpoint: Checkpoint, found: Mapping[str, Any], key: str | None, what: str, option: str) -> str:
    path = checkpoint.path
    if key is not None:
        if key not in found:
            raise unknown(f"{what} in {path}", key, found)
        return key
    usual = [place for place in found if place in USUAL] if len(found) > 1 else list(found)
    if len(usual) == 1:
        return usual[0]
    if not found:
        raise RequestError(f"{path} holds no {what}: tensors by their names, alone or in nested dicts")
    raise RequestError(f"{path} holds more than one {what} ({', '.join(found)}): name one by {option}")
