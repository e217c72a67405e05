"""Let a remedy act once on the model in a checkpoint file, and write another file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plastibench.console import progress
from plastibench.errors import RequestError
from plastibench.runner.workspace import Workspace

if TYPE_CHECKING:
    from torch import Tensor, nn

    from plastibench.standalone.acting import Applied
    from plastibench.standalone.fresh_models import Fresh
    from plastibench.standalone.own import Own
    from plastibench.standalone.own_data import BatchSource


@dataclass(frozen=True, kw_only=True)
class RemedyRequest:
    """A remedy for a file."""

    method: str
    """`name` or `name:preset`."""
    old: Path
    new: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    """Of the method; values as text."""
    model: str | None = None
    """`FILE.py:function` or `module:function`, with arguments if need be; None works on the weights alone."""
    data: str | None = None
    """A function that returns batches, likewise, or a file of two tensors."""
    loss: str | None = None
    """A function of output and targets; None is cross-entropy."""
    fresh: tuple[str, ...] = ()
    """Files of newly initialized models."""
    initial: str | None = None
    """File of the model as it was when training started."""
    model_key: str | None = None
    """Place of the model's state_dict in the file: keys joined by dots."""
    optimizer_key: str | None = None
    head_name: str | None = None
    stage: int = 1
    chunks: tuple[int, ...] | None = None
    batch_size: int = 128
    device: str = "cpu"
    seed: int | None = None
    workspace: Workspace = field(default_factory=Workspace)


@dataclass(frozen=True, kw_only=True)
class RemedyResult:
    """What has been done."""

    applied: Applied
    model_place: str
    """Of the state_dict in the file; "" is the whole file."""
    optimizer_place: str | None
    untouched: tuple[str, ...]
    """Places of other state_dicts in the file."""
    seed: int
    """Of what was drawn."""


def remedy(request: RemedyRequest) -> RemedyResult:
    """Let a remedy act on a file and write another one, with all else as it was.

    Raises RequestError if the method does not act between stages alone, needs what is not given, or if the
    file cannot be read safely.
    """
    from plastibench.standalone import checkpoint, places
    from plastibench.standalone.named_method import named
    from plastibench.standalone.once import apply_once, check_acts_once
    from plastibench.standalone.stored_optimizer import StoredOptimizer

    _check_new(request.old, request.new)
    name = request.method.partition(":")[0]
    texts = {setting.removeprefix(f"{name}."): text for setting, text in request.settings.items()}
    method = named(request.workspace.registry, request.method, {}).from_strings(texts)
    check_acts_once(method)
    file = checkpoint.read(request.old)
    model = _model(request)
    place = places.model_place(file, request.model_key, model)
    optimizer_place = places.optimizer_place(file, request.optimizer_key)
    weights = _Weights(file.own(place), model)
    own = _own(request, weights, name, None if optimizer_place is None else file.optimizers[optimizer_place])
    source = _source(request, own.model)
    total = None if source is None else source.num_examples()
    with progress(f"{request.method} acts on {request.old.name}", total) as advance:
        if source is not None:
            source.on_read = advance
        applied = apply_once(method, own, source, chunks=request.chunks, stage=request.stage)
    weights.store(applied.changed)
    if isinstance(own.optimizer, StoredOptimizer):
        own.optimizer.store()
    file.write(request.new)
    others = sorted({*file.models, *file.optimizers} - {place, optimizer_place or place})
    return RemedyResult(
        applied=applied,
        model_place=place,
        optimizer_place=optimizer_place,
        untouched=tuple(others),
        seed=own.seed,
    )


class _Weights:
    """The tensors of a state_dict in a file, and the model that has them: a whole one or a bare one."""

    def __init__(self, tensors: Mapping[str, Tensor], model: nn.Module | None) -> None:
        from plastibench.standalone.bare_model import BareModel
        from plastibench.standalone.places import of_model
        from plastibench.standalone.tensors import set_tensors

        self.is_bare = model is None
        self.model = BareModel(tensors) if model is None else model
        self._tensors: dict[str, Tensor] = {}  # a bare model has those of the file itself
        if model is not None:
            self._tensors = of_model(tensors, model)
            set_tensors(model, self._tensors)

    def store(self, changed: tuple[str, ...]) -> None:
        """Copy what has changed into the memory of the file's tensors."""
        state = self.model.state_dict()
        for name in changed:
            if name in self._tensors:
                self._tensors[name].detach().copy_(state[name])


def _own(request: RemedyRequest, weights: _Weights, name: str, optimizer: dict[str, Any] | None) -> Own:
    """Return what the hooks of a method may change."""
    import torch

    from plastibench.standalone.acting import resolved_seed
    from plastibench.standalone.fresh_models import FreshModels
    from plastibench.standalone.own import Own
    from plastibench.standalone.stored_optimizer import stored_optimizer
    from plastibench.standalone.user_code import get_named

    model = weights.model
    seed = torch.Generator().seed() >> 33 if request.seed is None else request.seed
    return Own(
        model=model,
        optimizer=None if optimizer is None else stored_optimizer(optimizer, model),
        loss=None if request.loss is None else get_named(request.loss, "loss"),
        fresh=FreshModels(model, _fresh(request, weights), name),
        initial=None if request.initial is None else _weights_like(Path(request.initial), request, model),
        seed=resolved_seed(seed, None),
        head_name=request.head_name,
        without_head="name it by --head, or give --model and --data",
        without_data="give --model and --data" if weights.is_bare else "give --data",
    )


def _fresh(request: RemedyRequest, weights: _Weights) -> Fresh:
    """Return newly initialized models: from files, or made by the function of the model."""
    if request.fresh:
        return [_weights_like(Path(path), request, weights.model) for path in request.fresh]

    def make() -> nn.Module:
        model = _model(request)
        if model is None:
            raise RequestError(
                f"{request.method} needs newly initialized weights: give --fresh, the file of a newly "
                "initialized model, or --model, a function that returns one"
            )
        return model

    return make


def _weights_like(path: Path, request: RemedyRequest, model: nn.Module) -> Mapping[str, Tensor]:
    """Return the tensors of another file by their names in the model."""
    from plastibench.standalone import checkpoint, places

    file = checkpoint.read(path)
    key = request.model_key if request.model_key in file.models else None
    return places.of_model(file.models[places.model_place(file, key, model)], model)


def _model(request: RemedyRequest) -> nn.Module | None:
    """Return a newly made model on the device, or None if the request names none."""
    from torch import nn

    from plastibench.devices import get_device
    from plastibench.standalone.user_code import call_named

    if request.model is None:
        return None
    model = call_named(request.model, "model")
    if not isinstance(model, nn.Module):
        raise RequestError(
            f"model {request.model} returns {type(model).__name__}: it must return a torch.nn.Module"
        )
    return model.to(get_device(request.device).torch_device)


def _source(request: RemedyRequest, model: nn.Module) -> BatchSource | None:
    from plastibench.standalone.acting import device_of
    from plastibench.standalone.data_file import named_batches
    from plastibench.standalone.own_data import BatchSource

    if request.data is None:
        return None
    if request.model is None:
        raise RequestError("--data means nothing without --model: weights alone compute nothing")
    return BatchSource(named_batches(request.data, request.batch_size), device_of(model))


def _check_new(old: Path, new: Path) -> None:
    """Raise RequestError for a file that is there already, or would be of another format."""
    if new.exists():
        what = "the file itself" if old.exists() and new.samefile(old) else "there already"
        raise RequestError(f"{new} is {what}: name another file to write")
    if not new.parent.is_dir():
        raise RequestError(f"there is no folder {new.parent}")
    if (old.suffix == ".safetensors") != (new.suffix == ".safetensors"):
        raise RequestError(f"{new} has another format than {old}: the two must end alike")
