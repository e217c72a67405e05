"""The state of a model: its tensors and modes, and what was changed in it since it was built.

A checkpoint holds no code, so a resumed run builds the model again. Attributes and sizes that a method or the
model itself has changed are restored; other layers, hooks and functions cannot be.
"""

import copy
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only

from plastibench.errors import RequestError
from plastibench.training.fingerprint import fingerprint

PLAIN = (bool, int, float, str, type(None), torch.dtype, torch.device)
FUNCTIONS = (FunctionType, BuiltinFunctionType, MethodType, partial, type)
_INTERNAL = frozenset(vars(nn.Module()))
"""What every module has: its mode, parameters, buffers, submodules and hooks."""


@dataclass(frozen=True)
class ModelStructure:
    """What a model is made of, apart from the values of its tensors."""

    layers: Mapping[str, str]
    """Class of each module."""
    tensors: Mapping[str, str]
    """The first name of each parameter and buffer, which is another one if it is shared."""
    views: Mapping[str, str]
    """Tensors that are plain attributes and lie in the memory of a parameter or buffer."""
    hooks: Mapping[str, int]
    """Number of hooks of each module and of its own parameters."""
    attributes: Mapping[str, Mapping[str, Any]]
    """Attributes of each module that are plain values."""
    functions: Mapping[str, Mapping[str, str]]
    """Attributes of each module that are functions or classes, by their names."""
    objects: Mapping[str, Mapping[str, bytes]]
    """Fingerprints of the attributes of each module that are any other objects."""


def model_structure(model: nn.Module) -> ModelStructure:
    """Return the structure of a model."""
    modules = dict(model.named_modules())
    first: dict[int, str] = {}
    named = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    return ModelStructure(
        layers={name: f"{type(m).__module__}.{type(m).__qualname__}" for name, m in modules.items()},
        tensors={name: first.setdefault(id(tensor), name) for name, tensor in named},
        views=_views(model),
        hooks={name: _num_hooks(module) for name, module in modules.items()},
        attributes=plain_attributes(model),
        functions={name: _functions(module) for name, module in modules.items()},
        objects={name: _objects(module) for name, module in modules.items()},
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
            f"{changed_by} {change}, which no checkpoint would have: build the model so in `build`, and keep "
            "what changes in buffers or plain values"
        )
    return {
        "tensors": {**model.state_dict(), **dict(model.named_buffers(remove_duplicate=False))},
        "attributes": {
            name: {
                **_changed(built.attributes[name], values),
                **_tensor_attributes(name, module, structure.views),
            }
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
            _set_attribute(modules[name], attribute, tree_map_only(Tensor, lambda x: x.to(device), value))
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
    """Give the parameters and buffers of a model the shapes and types that they are to be loaded with."""
    resized: dict[int, Tensor] = {}
    for prefix, module in model.named_modules():
        for name, old in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
            saved = tensors[_joined(prefix, name)]
            if (saved.shape, saved.dtype) != (old.shape, old.dtype):
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
        for kind in ("function", "object"):
            of_built, of_now = (getattr(structure, f"{kind}s")[name] for structure in (built, now))
            for attribute in _changed(of_built, of_now):
                return f"changes the {kind} {attribute} of {where}"
    return _changed_tensors(built, now)


def _changed_tensors(built: ModelStructure, now: ModelStructure) -> str | None:
    for name in {**now.tensors, **built.tensors}:
        if now.tensors.get(name) != built.tensors.get(name):
            return f"adds, removes or shares {name} of the model"
    for name in _changed(built.views, now.views):
        return f"makes {name} of the model a view of a parameter or buffer"
    return None


def _changed(built: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in now.items() if name not in built or built[name] != value}


def _functions(module: nn.Module) -> dict[str, str]:
    functions = {name: v for name, v in vars(module).items() if isinstance(v, FUNCTIONS)}
    named = {name: v.func if isinstance(v, partial) else v for name, v in functions.items()}
    return {name: f"{v.__module__}.{getattr(v, '__qualname__', type(v))}" for name, v in named.items()}


def _objects(module: nn.Module) -> dict[str, bytes]:
    if type(module).get_extra_state is not nn.Module.get_extra_state:  # it saves its objects itself
        return {}
    return {
        name: fingerprint(value)
        for name, value in vars(module).items()
        if name not in _INTERNAL
        and not (isinstance(value, FUNCTIONS) or _is_plain(value) or _holds_tensors(value))
    }


def _tensor_attributes(prefix: str, module: nn.Module, views: Collection[str]) -> dict[str, Any]:
    """Return the plain attributes of a module that are tensors, or lists or dicts of them; no views."""
    own = {
        name: value
        for name, value in vars(module).items()
        if name not in _INTERNAL and _holds_tensors(value) and _joined(prefix, name) not in views
    }
    return {name: tree_map_only(Tensor, lambda x: x.detach(), value) for name, value in own.items()}


def _holds_tensors(value: object) -> bool:
    """Return whether a value is a tensor, or a list, tuple or dict of plain values and tensors."""
    leaves = tree_leaves(value)
    return any(isinstance(leaf, Tensor) for leaf in leaves) and all(
        type(leaf) in (Tensor, *PLAIN) for leaf in leaves
    )


def _views(model: nn.Module) -> dict[str, str]:
    """Return the attributes that are tensors in the memory of a parameter or buffer, with their place."""
    named = [*model.named_parameters(), *model.named_buffers()]
    owners = {tensor.untyped_storage()._cdata: name for name, tensor in named}
    views = {}
    for prefix, module in model.named_modules():
        for name, view in vars(module).items():
            owner = owners.get(view.untyped_storage()._cdata) if isinstance(view, Tensor) else None
            if owner is not None:
                place = f"{view.storage_offset()}, {tuple(view.shape)}, {view.stride()}"
                views[_joined(prefix, name)] = f"view of {owner} at {place}"
    return views


def _joined(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


def _set_attribute(module: nn.Module, name: str, value: Any) -> None:  # noqa: ANN401 - of any type
    """Set an attribute; a list or dict keeps its identity, because several modules may share it."""
    old = getattr(module, name, None)
    if type(old) is type(value) is dict:
        old.clear()
        old.update(value)
    elif type(old) is type(value) is list:
        old[:] = value
    else:
        setattr(module, name, value)


def _is_plain(value: object) -> bool:
    if type(value) in (list, tuple, torch.Size):
        return all(map(_is_plain, value))  # type: ignore[call-overload]
    if type(value) is dict:
        return all(map(_is_plain, (*value, *value.values())))
    return type(value) in PLAIN


def _num_hooks(module: nn.Module) -> int:
    own = sum(len(value) for name, value in vars(module).items() if "hooks" in name and name in _INTERNAL)
    of_parameters = (
        hooks
        for parameter in module.parameters(recurse=False)
        for hooks in (parameter._backward_hooks, getattr(parameter, "_post_accumulate_grad_hooks", None))
    )
    return own + sum(len(hooks or ()) for hooks in of_parameters)
