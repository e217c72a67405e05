"""The whole state of a run as tensors and plain values, and back: nothing that carries code."""

import copy
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from plastibench.errors import RequestError
from plastibench.plugins.method import Method
from plastibench.training.callbacks import IncompatibleCheckpointError, StateDict
from plastibench.training.learner import Learner
from plastibench.training.model_state import PLAIN, load_model_state, model_state, model_structure


def state_dict(learner: Learner, method: Method) -> StateDict:
    """Return the state of a learner, its method and all random generators, in memory of its own.

    Raises RequestError if the method keeps something that a checkpoint cannot hold.
    """
    state = {
        "stage": learner.stage.index,
        "learner": learner.state_dict(),
        "model": learner.model_state(),
        "method": method_state(learner, method),
        "rng": learner.device.rng_state(),
    }
    copied: StateDict = tree_map_only(Tensor, lambda x: x.detach().to("cpu", copy=True), state)
    return copied


def load_state_dict(state: StateDict, learner: Learner, method: Method) -> None:
    """Load a state into a learner that has begun the same stage, and its method.

    The global generators are left to `load_rng_state`, because data may have to be skipped before.
    Raises IncompatibleCheckpointError if the state does not fit.
    """
    with incompatible_if_it_fails():
        load_model_state(learner.model, state["model"])
        learner.load_state_dict(state["learner"])
        load_method_state(method, state["method"], learner)


@contextmanager
def incompatible_if_it_fails() -> Iterator[None]:
    """Turn any error into an IncompatibleCheckpointError: a missing key, another shape, an unknown cost."""
    try:
        yield
    except Exception as error:
        raise IncompatibleCheckpointError(f"{type(error).__name__}: {error}") from error


def load_rng_state(state: StateDict, learner: Learner) -> None:
    """Restore torch's global generators, on the CPU and on the device."""
    learner.device.set_rng_state(state["rng"])


def weights_digest(module: nn.Module) -> str:
    """Return 16 hexadecimal digits that identify a module's weights and buffers, bit for bit."""
    digest = hashlib.sha256()
    for name, value in module.state_dict().items():
        if not isinstance(value, Tensor):  # what a module keeps by `get_extra_state`
            digest.update(f"{name} {value!r}\n".encode())
            continue
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def method_state(learner: Learner, method: Method) -> StateDict:
    """Return what a method keeps, as tagged plain values and tensors; parts of the learner become names.

    Raises RequestError if it keeps something that a checkpoint cannot hold.
    """
    declared = {field.name: field for field in fields(method)}
    # An attribute that hides a hook of the class, or that the class caches, is no state.
    undeclared = [name for name in vars(method) if name not in declared and not hasattr(type(method), name)]
    if undeclared:
        raise RequestError(
            f"{type(method).__name__} keeps {', '.join(undeclared)}, which no checkpoint would have: "
            "declare it as a field(init=False) of the dataclass"
        )
    return {
        name: _Encoder(learner, f"{type(method).__name__}.{name}")(getattr(method, name))
        for name, field in declared.items()
        if not field.init
    }


def load_method_state(method: Method, state: StateDict, learner: Learner) -> None:
    """Give a method what `method_state` returned."""
    for name, encoded in state.items():
        setattr(method, name, _decode(encoded, learner))


class _Encoder:
    """Turns what a method keeps into tagged plain values; parts of the learner become their names."""

    def __init__(self, learner: Learner, attribute: str) -> None:
        self.learner = learner
        self.attribute = attribute
        self.parameters = {id(p): name for name, p in learner.model.named_parameters()}
        self.buffers = {id(b): name for name, b in learner.model.named_buffers()}
        self.groups = {id(group): index for index, group in enumerate(learner.optimizer.param_groups)}

    def __call__(self, value: Any) -> tuple[str, Any]:  # noqa: ANN401 - whatever a method keeps
        if id(value) in self.groups:
            return "group", self.groups[id(value)]
        if type(value) in PLAIN:
            return "plain", value
        if type(value) in (list, tuple):
            return type(value).__name__, [self(item) for item in value]
        if type(value) is dict:
            return "dict", [(self(key), self(item)) for key, item in value.items()]
        return self._encode_torch(value)

    def _encode_torch(self, value: object) -> tuple[str, Any]:
        if id(value) in self.parameters:
            return "parameter", self.parameters[id(value)]
        if id(value) in self.buffers:
            return "buffer", self.buffers[id(value)]
        if value is self.learner.model:
            return "model", None
        if isinstance(value, torch.Generator) and value.device.type == "cpu":
            return "generator", value.get_state()
        if isinstance(value, Tensor) and (value.is_leaf or not value.requires_grad):
            return "tensor", (value.detach(), value.requires_grad)
        if isinstance(value, nn.Module) and _shapes(value) == _shapes(self.learner.model):
            return "module", model_state(value, model_structure(self.learner.model), self.attribute)
        raise RequestError(
            f"{self.attribute} holds a {type(value).__name__}, which a checkpoint cannot hold: use numbers, "
            "text, tensors, CPU generators, copies of the model, and lists, tuples and dicts of them"
        )


def _decode(encoded: tuple[str, Any], learner: Learner) -> Any:  # noqa: ANN401 - whatever was kept
    tag, value = encoded
    decoders: dict[str, Callable[[], Any]] = {
        "plain": lambda: value,
        "list": lambda: [_decode(item, learner) for item in value],
        "tuple": lambda: tuple(_decode(item, learner) for item in value),
        "dict": lambda: {_decode(key, learner): _decode(item, learner) for key, item in value},
        "parameter": lambda: learner.model.get_parameter(value),
        "buffer": lambda: learner.model.get_buffer(value),
        "group": lambda: learner.optimizer.param_groups[value],
        "model": lambda: learner.model,
        "generator": lambda: torch.Generator().set_state(value),
        "tensor": lambda: value[0].to(learner.device.torch_device).requires_grad_(value[1]),
        "module": lambda: load_model_state(copy.deepcopy(learner.model), value),
    }
    return decoders[tag]()


def _shapes(module: nn.Module) -> dict[str, torch.Size | None]:
    return {name: getattr(value, "shape", None) for name, value in module.state_dict().items()}
