"""The state of a model: its tensors and modes, and what was changed in it since it was built.

A checkpoint holds no code, so a resumed run builds the model again. Attributes and sizes that a method or the
model itself has changed are restored; other layers, hooks and functions cannot be.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from types import BuiltinFunctionType, FunctionType
from typing import Any

import torch
from torch import Tensor, nn

from plastibench.errors import RequestError

PLAIN = (bool, int, float, str, type(None))
FUNCTIONS = (FunctionType, BuiltinFunctionType, type)
_INTERNAL = frozenset(vars(nn.Module()))
"""What every module has: its mode, parameters, buffers, submodules and hooks."""


@dataclass(frozen=True)
class ModelStructure:
    """What a model is made of, apart from the values of its tensors."""

    layers: Mapping[str, str]
    """Class of each module."""
    tensors: Mapping[str, str]
    """The first name of each parameter and buffer, which is another one if it is shared."""
    hooks: Mapping[str, int]
    attributes: Mapping[str, Mapping[str, Any]]
    """Attributes of each module that are plain values."""
    functions: Mapping[str, Mapping[str, str]]
    """Attributes of each module that are functions or classes, by their names."""


def model_structure(model: nn.Module) -> ModelStructure:
    """Return the structure of a model."""
    modules = dict(model.named_modules())
    first: dict[int, str] = {}
    named = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    return ModelStructure(
        layers={name: f"{type(m).__module__}.{type(m).__qualname__}" for name, m in modules.items()},
        tensors={name: first.setdefault(id(tensor), name) for name, tensor in named},
        hooks={name: _num_hooks(module) for name, module in modules.items()},
        attributes=plain_attributes(model),
        functions={name: _functions(module) for name, module in modules.items()},
    )


def plain_attributes(model: nn.Module) -> dict[str, dict[str, Any]]:
    """Return the attributes of each module that are plain values, such as counters and rates."""
    return {
        name: {key: copy.deepcopy(v) for key, v in vars(m).items() if key not in _INTERNAL and _is_plain(v)}
        for name, m in model.named_modules()
    }


def model_state(model: nn.Module, built: ModelStructure, changed_by: str) -> dict[str, Any]:
    """Return the state of a model, for a checkpoint; `built` is what a resumed run will have built.

    Raises RequestError, naming `changed_by`, for a change that a checkpoint cannot hold.
    """
    structure = model_structure(model)
    change = _unrestorable_change(built, structure)
    if change is not None:
        raise RequestError(
            f"{changed_by} {change}, which no checkpoint would have: build the model so in `build`"
        )
    return {
        "tensors": {**model.state_dict(), **dict(model.named_buffers(remove_duplicate=False))},
        "attributes": {
            name: {**_changed(built.attributes[name], values), **_tensor_attributes(module)}
            for (name, values), module in zip(structure.attributes.items(), model.modules(), strict=True)
        },
        "training": [module.training for module in model.modules()],
        "requires_grad": [p.requires_grad for p in model.parameters()],
    }


def load_model_state(model: nn.Module, state: Mapping[str, Any]) -> nn.Module:
    """Load a state into a model as it is built, and return the model."""
    modules, buffers = dict(model.named_modules()), dict(model.named_buffers(remove_duplicate=False))
    device = next(model.parameters()).device
    for name, attributes in state["attributes"].items():
        for attribute, value in attributes.items():
            setattr(modules[name], attribute, value.to(device) if isinstance(value, Tensor) else value)
    _resize(model, state["tensors"])
    names = model.state_dict().keys()
    model.load_state_dict({name: value for name, value in state["tensors"].items() if name in names})
    for name in buffers.keys() - names:
        model.get_buffer(name).copy_(state["tensors"][name])
    for part, training in zip(modules.values(), state["training"], strict=True):
        part.training = training
    for parameter, requires_grad in zip(model.parameters(), state["requires_grad"], strict=True):
        parameter.requires_grad_(requires_grad)
    return model


def _resize(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Give the parameters and buffers of a model the shapes that they are to be loaded with."""
    resized: dict[int, Tensor] = {}
    for prefix, module in model.named_modules():
        for name, old in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
            saved = tensors[f"{prefix}.{name}" if prefix else name]
            if saved.shape != old.shape:
                new = torch.empty_like(saved, device=old.device)
                new = nn.Parameter(new) if isinstance(old, nn.Parameter) else new
                setattr(module, name, resized.setdefault(id(old), new))


def _unrestorable_change(built: ModelStructure, now: ModelStructure) -> str | None:
    """Return a change that cannot be restored, as a predicate, or None."""
    for name in {**now.layers, **built.layers}:
        before, after = (layers.get(name, "").rpartition(".")[2] for layers in (built.layers, now.layers))
        where = f"{name or before!r} of the model"
        if not before or not after:
            return f"adds {after} as {where}" if after else f"removes {where}"
        if before != after:
            return f"replaces {before} by {after} as {where}"
        if built.hooks[name] != now.hooks[name]:
            return f"registers or removes hooks of {where}"
        for attribute in _changed(built.functions[name], now.functions[name]):
            return f"changes the function {attribute} of {where}"
    for name in {**now.tensors, **built.tensors}:
        if now.tensors.get(name) != built.tensors.get(name):
            return f"adds, removes or shares {name} of the model"
    return None


def _changed(built: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in now.items() if name not in built or built[name] != value}


def _functions(module: nn.Module) -> dict[str, str]:
    functions = {name: v for name, v in vars(module).items() if isinstance(v, FUNCTIONS)}
    return {name: f"{value.__module__}.{value.__qualname__}" for name, value in functions.items()}


def _tensor_attributes(module: nn.Module) -> dict[str, Tensor]:
    """Return the tensors that are neither parameters nor buffers of a module, but plain attributes."""
    own = {name: value for name, value in vars(module).items() if isinstance(value, Tensor)}
    return {name: value.detach() for name, value in own.items()}


def _is_plain(value: object) -> bool:
    if type(value) in (list, tuple):
        return all(map(_is_plain, value))  # type: ignore[call-overload]
    if type(value) is dict:
        return all(map(_is_plain, (*value, *value.values())))
    return type(value) in PLAIN


def _num_hooks(module: nn.Module) -> int:
    return sum(len(value) for name, value in vars(module).items() if "hooks" in name and name in _INTERNAL)
