"""Newly initialized models like one's own: given, made by a function, or made by the layers themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from plastibench.errors import RequestError
from plastibench.standalone.tensors import set_tensors
from plastibench.training.model_copy import copy_model

Weights = nn.Module | Mapping[str, Tensor]
"""A model, or the state_dict of one."""
Fresh = Weights | Sequence[Weights] | Callable[[], nn.Module]


class FreshModels:
    """Draws models like `model`, each time another one, from torch's global generator on the CPU."""

    def __init__(self, model: nn.Module, given: Fresh | None, method: str) -> None:
        """Keep what the user gives; None draws by `reset_parameters` of the layers."""
        self._model, self._method = model, method
        is_function = callable(given) and not isinstance(given, nn.Module)
        self._function = given if is_function else None
        self._given: list[Weights] | None = None
        if not is_function and given is not None:
            self._given = [given] if isinstance(given, nn.Module | Mapping) else list(given)  # type: ignore[arg-type]
        self._num_drawn = 0

    def first(self) -> nn.Module:
        """Return a model for the start of training; of those that are given, none is used up."""
        return self.draw() if self._given is None else like(self._model, self._given[0], "fresh")

    def draw(self) -> nn.Module:
        """Return a newly initialized model on the CPU.

        Raises RequestError if none is left, if it is not like one's own, or if a layer cannot be initialized.
        """
        if self._function is not None:
            model = self._function()  # type: ignore[operator]
            if not isinstance(model, nn.Module):
                raise RequestError(f"fresh returns {type(model).__name__}: it must return a torch.nn.Module")
        elif self._given is not None:
            model = like(self._model, self._next_given(), "fresh")
        else:
            model = self._reset()
        check_alike(self._model, model, "fresh")
        _check_apart(self._model, model)
        own = dict(self._model.named_parameters(remove_duplicate=False))
        for name, parameter in model.named_parameters():  # what is frozen in one is frozen in the other
            parameter.requires_grad_(own[name].requires_grad)
        return model

    def _next_given(self) -> Weights:
        assert self._given is not None
        if self._num_drawn == len(self._given):
            raise RequestError(
                f"{self._method} draws new weights more than {len(self._given)} times: let `fresh` be a "
                "function that returns a newly initialized model, or a list of more of them"
            )
        self._num_drawn += 1
        return self._given[self._num_drawn - 1]

    def _reset(self) -> nn.Module:
        """Return a copy whose layers have initialized themselves, children before their parents."""
        model = copy_model(self._model).cpu()
        for name, module in reversed(list(model.named_modules())):
            own = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
            # Attention of torch has it under a name of its own.
            reset = getattr(module, "reset_parameters", getattr(module, "_reset_parameters", None))
            if callable(reset):
                with torch.no_grad():
                    reset()
            elif own:
                raise RequestError(
                    f"{self._method} needs newly initialized weights, and {name or 'the model'} "
                    f"({type(module).__name__}) has no reset_parameters: give `fresh`, a function that "
                    "returns a newly initialized model"
                )
        return model


def like(model: nn.Module, weights: Weights, what: str) -> nn.Module:
    """Return a copy of a model on the CPU with other weights. Raises RequestError if they do not fit."""
    check_alike(model, weights, what)
    twin = copy_model(model).cpu()
    set_tensors(twin, weights.state_dict() if isinstance(weights, nn.Module) else weights)
    return twin


def _check_apart(model: nn.Module, fresh: nn.Module) -> None:
    """Raise RequestError if a fresh model has the memory of one's own: acting on it would change both."""
    own = {parameter.data_ptr(): name for name, parameter in model.named_parameters()}
    for name, parameter in fresh.named_parameters():
        if parameter.numel() and parameter.data_ptr() in own:
            raise RequestError(
                f"fresh returns the trained model or a part of it ({name}): it must return a newly "
                "initialized model each time"
            )


def check_alike(model: nn.Module, other: Weights, what: str) -> None:
    """Raise RequestError if names or shapes of tensors differ."""
    states = (model.state_dict(), other.state_dict() if isinstance(other, nn.Module) else other)
    own, given = ({name: tuple(t.shape) for name, t in s.items() if isinstance(t, Tensor)} for s in states)
    for name in {**own, **given}:
        if own.get(name) != given.get(name):
            shapes = [f"of shape {s[name]}" if name in s else "missing" for s in (given, own)]
            raise RequestError(
                f"{what} is not like the model: {name} is {shapes[0]}, in the model {shapes[1]}"
            )
