"""Find the weights that methods act on: trained ones only, and each one once if it is shared."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn import Parameter
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import is_parametrized
from torch.overrides import TorchFunctionMode

from plastibench.data.described import described, named
from plastibench.errors import RequestError, unknown

Scope = Literal["all", "layers", "module_weights"]
"""All parameters; weights and biases of `LAYERS`; or the weights of every module, those of normalization
included, without biases."""

LAYERS = (
    nn.Linear,
    _ConvNd,
    nn.Embedding,
    nn.EmbeddingBag,
    nn.RNNBase,
    nn.RNNCellBase,
    nn.MultiheadAttention,
)
"""Linear layers, convolutions and transposed convolutions of any dimension, embeddings, recurrent layers,
and attention, whose projections of queries, keys and values are its own."""
NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)

_scopes: WeakKeyDictionary[nn.Module, set[Scope]] = WeakKeyDictionary()


def weight_layers(model: nn.Module, *, head: str | None = None) -> list[Any]:
    """Return the layers that add a trained parameter, in the order of the model; the `head`, if named, last.

    A layer all of whose parameters belong to layers before it is left out. Attention's output projection is
    a linear layer of its own. Raises RequestError if a layer computes its weight from other parameters, or
    if there is no such head.
    """
    check_plain(model)
    if head is None:
        _note(model, "layers")
    layers, seen = list[Any](), set[Parameter]()
    for module in model.modules():
        own = {p for p in module.parameters(recurse=False) if p.requires_grad}
        if isinstance(module, LAYERS) and own - seen:
            layers.append(module)
            seen |= own
    return layers if head is None else _with_head_last(layers, model, head)


def norm_layers(model: nn.Module) -> list[Any]:
    """Return the normalization layers that have a trained parameter, in the order of the model."""
    return [
        module
        for module in model.modules()
        if isinstance(module, NORMS) and any(p.requires_grad for p in module.parameters(recurse=False))
    ]


def parameters_in(model: nn.Module, scope: Scope) -> list[Parameter]:
    """Return the trained parameters of a scope, in the order of the model, each one once if it is shared.

    Raises RequestError if a layer computes its weight from other parameters.
    """
    check_plain(model)
    _note(model, scope)
    return [p for p in dict.fromkeys(_in_scope(model, scope)) if p.requires_grad]


def _in_scope(model: nn.Module, scope: Scope) -> Iterator[Parameter]:
    if scope == "all":
        yield from model.parameters()
        return
    for module in model.modules():
        if scope == "layers" and isinstance(module, LAYERS):
            yield from module.parameters(recurse=False)
        elif scope == "module_weights":
            yield from (p for name, p in module.named_parameters(recurse=False) if "weight" in name)


def noted_scopes(model: nn.Module) -> list[Scope]:
    """Return the scopes in which the parameters of a model have been listed."""
    return sorted(_scopes.get(model, ()))


def note_scopes(model: nn.Module, scopes: list[Scope]) -> None:
    """Restore what `noted_scopes` returned."""
    for scope in scopes:
        _note(model, scope)


def untouched_parameters(model: nn.Module) -> list[str]:
    """Return the names of the trained parameters that a method leaves out without having chosen to.

    They are in no scope that was listed, and in no layer of `LAYERS` or `NORMS`. Empty if nothing has listed
    the weights of the model.
    """
    known = {p for scope in noted_scopes(model) for p in _in_scope(model, scope)}
    if not known:
        return []
    for module in model.modules():
        if isinstance(module, (*LAYERS, *NORMS)):
            known.update(module.parameters(recurse=False))
    return [name for name, p in model.named_parameters() if p.requires_grad and p not in known]


def check_module(model: object, builder: type) -> None:
    """Raise RequestError, which names the class that has built a model and its file, if it is no module."""
    if not isinstance(model, nn.Module):
        raise RequestError(
            f"{named(builder)} builds {described(model)}: it must return a torch.nn.Module that maps "
            "(b, *shape) to logits (b, num_classes)"
        )


def check_trainable(model: nn.Module) -> None:
    """Raise RequestError for a model that no optimizer can train."""
    for name, parameter in model.named_parameters():
        if is_lazy(parameter):
            raise RequestError(f"{name} of the model has no shape yet: give lazy layers their input size")
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise RequestError("no parameter of the model requires a gradient: there is nothing to train")
    _check_memory(model)


def _check_memory(model: nn.Module) -> None:
    """Raise RequestError if two parameters lie in the same memory: each would be changed twice."""
    sharing: dict[int, list[tuple[str, Parameter]]] = {}
    for name, parameter in model.named_parameters():
        sharing.setdefault(parameter.untyped_storage()._cdata, []).append((name, parameter))
    for users in sharing.values():
        if len(users) == 1:
            continue
        storage = users[0][1].untyped_storage()
        uses = torch.zeros(storage.nbytes() // users[0][1].element_size(), dtype=torch.int32)
        for name, parameter in users:
            uses.as_strided(parameter.shape, parameter.stride(), parameter.storage_offset()).add_(1)
            if uses.max() > 1:
                raise RequestError(
                    f"{name} of the model is a view of {users[0][0]}: share the parameter itself, as in "
                    "b.weight = a.weight"
                )


class _WithoutDraws(TorchFunctionMode):
    """Leave out `normal_`, which changes no meta tensor: its first call on one imports torch's compiler."""

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: Iterable[type],
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        return args[0] if func is Tensor.normal_ else func(*args, **(kwargs or {}))


def unsupported_weights(plugin: object, build: Callable[[], nn.Module]) -> str | None:
    """Return why a method or probe cannot act on the weights of the model that `build` returns, or None.

    Plug-ins that import none of the lists of this file can act on any model.
    """
    modules = {cls.__module__ for cls in type(plugin).__mro__}
    names = (value for module in modules for value in vars(sys.modules[module]).values())
    if not any(value is parameters_in or value is weight_layers for value in names):
        return None
    try:
        model = without_data(build)
    except Exception:  # the run will build it on its device
        return None
    return _parametrized(model)


def without_data(build: Callable[[], nn.Module]) -> nn.Module:
    """Return the model that `build` returns on torch's meta device: nothing is drawn or computed."""
    with torch.device("meta"), _WithoutDraws():
        return build()


def check_plain(model: nn.Module) -> None:
    """Raise RequestError if a layer of the model computes its weight from other parameters."""
    if model not in _scopes:
        reason = _parametrized(model)
        if reason is not None:
            raise RequestError(reason)
        _scopes[model] = set()


def _parametrized(model: nn.Module) -> str | None:
    """Return why the weights of a model cannot be listed: a layer computes its own from other parameters.

    So do the parametrizations of torch.nn.utils, its older weight_norm and spectral_norm, and pruning.
    """
    for name, module in model.named_modules():
        hooks = module._forward_pre_hooks.values()
        if is_parametrized(module) or any(type(h).__module__.startswith("torch.nn.utils") for h in hooks):
            return (
                f"layer {name!r} of the model computes its weight from other parameters (a parametrization, "
                "weight_norm, spectral_norm or pruning), so no formula for the weight can be applied"
            )
    return None


def _note(model: nn.Module, scope: Scope) -> None:
    _scopes.setdefault(model, set()).add(scope)


def _with_head_last(layers: list[Any], model: nn.Module, head: str) -> list[Any]:
    modules = dict(model.named_modules())
    if head not in modules:
        raise unknown("layer of the model", head, modules)
    return [layer for layer in layers if layer is not modules[head]] + [modules[head]]
