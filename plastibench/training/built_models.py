"""The models that plug-ins build: new ones, drawn from a stream of the run, with the logits of a task."""

from __future__ import annotations

from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn

from plastibench.data.described import described, is_own, named
from plastibench.errors import RequestError
from plastibench.plugins.classification_task import ClassificationTask
from plastibench.plugins.layers import check_module, check_trainable
from plastibench.plugins.method import Method
from plastibench.plugins.task import Task
from plastibench.seeding import derive_seed, seeded_init

_known: WeakSet[nn.Module] = WeakSet()
"""The layers of all models that have been built and are still there. Not their parameters: torch refuses to
move one to some devices while anything refers to it weakly."""


def build_model(task: Task, method: Method, *stream: str | int) -> nn.Module:
    """Return a new model on the CPU whose weights are drawn from a named stream.

    Raises RequestError, which names the file of the plug-in, if it is none, one that was built before, or
    one that seeds torch's global generator, so that all seeds would begin alike.
    """
    with seeded_init(*stream):
        model = method.build(task)
        is_seeded = torch.default_generator.initial_seed() == derive_seed(*stream)
    builder = _builder(task, method)
    check_module(model, builder)
    if not is_seeded:
        raise RequestError(
            f"{named(builder)} seeds torch's global generator while it builds a model, so that all seeds and "
            "all fresh models would begin alike: leave torch.manual_seed out, the generator is seeded already"
        )
    check_trainable(model)
    _check_new(model, named(builder))
    return model


def check_logits(logits: Any, y: Tensor, task: Task, method: Method, classes: int | None) -> None:  # noqa: ANN401 - of any model
    """Raise RequestError unless a model has returned logits for a batch with labels y, (b,).

    `classes` is how many there must be; None is any number.
    """
    who = f"the model of {named(_builder(task, method))}"
    width = "num_classes" if classes is None else str(classes)
    is_matrix = isinstance(logits, Tensor) and logits.ndim == 2 and len(logits) == len(y)
    if not is_matrix or classes not in (None, logits.shape[1]):
        raise RequestError(
            f"{who} returns {described(logits)} for {len(y)} examples: it must return logits, a tensor of "
            f"shape ({len(y)}, {width})"
        )
    if len(y) and y.device.type == "cpu" and not 0 <= int(y.min()) <= int(y.max()) < logits.shape[1]:
        raise RequestError(
            f"{named(type(task))} has labels from {int(y.min())} to {int(y.max())}, and there are logits for "
            f"{logits.shape[1]} classes: labels are 0 to {logits.shape[1] - 1}"
        )


def num_outputs(task: Task) -> int | None:
    """Return the width of the logits that a task asks its model for, or None if it does not say."""
    if not isinstance(task, ClassificationTask):
        return None
    return task.regime.num_outputs(task.output_classes())


def _check_new(model: nn.Module, who: str) -> None:
    """Raise RequestError for a model with layers of another one, or of one that was built without data."""
    own = {layer: list(layer.parameters(recurse=False)) for layer in model.modules()}
    trained = {layer: own[layer] for layer in own if any(p.requires_grad for p in own[layer])}
    if any(layer in _known or any(p.is_meta for p in trained[layer]) for layer in trained):
        raise RequestError(
            f"{who} returns a model that it has built before, with the weights of another run: it must make "
            "new layers at each call"
        )
    _known.update(trained)


def _builder(task: Task, method: Method) -> type:
    """Return the class that builds the model: that of a plug-in of somebody's own if there is one."""
    parts: list[object] = [task.architecture] if task.uses_architecture() else [task]
    parts += [method] if method.changes_model() else []
    return next((type(part) for part in parts if is_own(type(part))), type(parts[0]))
