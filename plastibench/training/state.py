"""The whole state of a run as tensors and plain values, and back: nothing that carries code."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor, nn

from plastibench.errors import RequestError
from plastibench.plugins.method import Method
from plastibench.training.callbacks import IncompatibleCheckpointError, StateDict
from plastibench.training.learner import Learner

PLAIN = (bool, int, float, str, type(None))


def state_dict(learner: Learner, method: Method) -> StateDict:
    """Return the state of a learner, its method and every random stream; it shares no memory with them.

    Raises RequestError where the method keeps something that a checkpoint cannot hold.
    """
    state: StateDict = _copied(
        {
            "stage": learner.stage.index,
            "learner": learner.state_dict(),
            "model": _module_state(learner.model),
            "method": _method_state(learner, method),
            "streams": learner.device.rng_state(),
        }
    )
    return state


def load_state_dict(state: StateDict, learner: Learner, method: Method) -> None:
    """Give a learner that has begun the same stage, and its method, the state that was taken.

    The global random streams are left to `restore_streams`: data may have to be skipped before.
    Raises Unusable where the state does not fit.
    """
    try:
        _load_module(learner.model, state["model"])
        learner.load_state_dict(state["learner"])
        for name, kept in state["method"].items():
            setattr(method, name, _decode(kept, learner))
    except Exception as error:  # a missing key, a shape, a word that Cost does not know
        raise IncompatibleCheckpointError(f"{type(error).__name__}: {error}") from error


def load_rng_state(state: StateDict, learner: Learner) -> None:
    """Set torch's global streams, on the CPU and on the device, as they were."""
    learner.device.set_rng_state(state["streams"])


def weights_digest(module: nn.Module) -> str:
    """Return what names a module's weights and buffers, bit for bit: 16 hexadecimal digits."""
    found = hashlib.sha256()
    for name, value in module.state_dict().items():
        found.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        found.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return found.hexdigest()[:16]


def _method_state(learner: Learner, method: Method) -> StateDict:
    names = [field.name for field in fields(method) if not field.init]
    known = {field.name for field in fields(method)}
    # What hides a hook of its class, or is cached by one, is no state.
    loose = [name for name in vars(method) if name not in known and not hasattr(type(method), name)]
    if loose:
        raise RequestError(
            f"{type(method).__name__} keeps {', '.join(loose)}, which no checkpoint would have: "
            "declare it as a field(init=False) of the dataclass"
        )
    return {
        name: _Encoder(learner, f"{type(method).__name__}.{name}")(getattr(method, name)) for name in names
    }


class _Encoder:
    """Turns what a method keeps into tagged plain values; what belongs to the model is kept by its name."""

    def __init__(self, learner: Learner, where: str) -> None:
        self.learner = learner
        self.where = where
        self.parameters = {id(p): name for name, p in learner.model.named_parameters()}

    def __call__(self, value: Any) -> tuple[str, Any]:  # noqa: ANN401 - whatever a method keeps
        if type(value) in PLAIN:
            return "plain", value
        if type(value) in (list, tuple):
            return type(value).__name__, [self(item) for item in value]
        if type(value) is dict:
            return "dict", [(self(key), self(item)) for key, item in value.items()]
        return self._of_torch(value)

    def _of_torch(self, value: object) -> tuple[str, Any]:
        if id(value) in self.parameters:
            return "parameter", self.parameters[id(value)]
        if value is self.learner.model:
            return "model", None
        if isinstance(value, torch.Generator) and value.device.type == "cpu":
            return "generator", value.get_state()
        if isinstance(value, Tensor) and (value.is_leaf or not value.requires_grad):
            return "tensor", (value.detach(), value.requires_grad)
        if isinstance(value, nn.Module) and _same_shape(value, self.learner.model):
            return "module", _module_state(value)
        raise RequestError(
            f"{self.where} holds a {type(value).__name__} that a checkpoint cannot keep: keep numbers, text, "
            "tensors, CPU generators, copies of the model, and lists, tuples and dicts of them"
        )


def _decode(kept: tuple[str, Any], learner: Learner) -> Any:  # noqa: ANN401 - whatever was kept
    tag, value = kept
    makers: dict[str, Callable[[], Any]] = {
        "plain": lambda: value,
        "list": lambda: [_decode(item, learner) for item in value],
        "tuple": lambda: tuple(_decode(item, learner) for item in value),
        "dict": lambda: {_decode(key, learner): _decode(item, learner) for key, item in value},
        "parameter": lambda: learner.model.get_parameter(value),
        "model": lambda: learner.model,
        "generator": lambda: _generator(value),
        "tensor": lambda: value[0].to(learner.device.torch_device).requires_grad_(value[1]),
        "module": lambda: _load_module(copy.deepcopy(learner.model), value),
    }
    return makers[tag]()


def _generator(state: Tensor) -> torch.Generator:
    made = torch.Generator()
    made.set_state(state)
    return made


def _same_shape(one: nn.Module, other: nn.Module) -> bool:
    mine, theirs = one.state_dict(), other.state_dict()
    return {k: v.shape for k, v in mine.items()} == {k: v.shape for k, v in theirs.items()}


def _module_state(module: nn.Module) -> StateDict:
    """Return weights and buffers, modes, and which parameters are trained."""
    return {
        "tensors": dict(module.state_dict()),
        "training": [part.training for part in module.modules()],
        "trained": [p.requires_grad for p in module.parameters()],
    }


def _load_module(module: nn.Module, state: StateDict) -> nn.Module:
    module.load_state_dict(state["tensors"])
    for part, training in zip(module.modules(), state["training"], strict=True):
        part.training = training
    for parameter, trained in zip(module.parameters(), state["trained"], strict=True):
        parameter.requires_grad_(trained)
    return module


def _copied(value: Any) -> Any:  # noqa: ANN401 - a tree of tensors and plain values
    """Return a tree whose tensors are copies on the CPU, in their own layout."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_copied(item) for item in value)
    return value
