"""What a remedy sees of a step of one's own loop: the inputs, and the activations that it watches."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import torch
from torch import nn

from plastibench.standalone.own_learner import OwnLearner
from plastibench.training.watching import watch_activations


class PassWatch:
    """Watches the first pass of each step: one in training mode and with gradients.

    Its two hooks are in the model from here to `close`. Copies of the model carry them without effect.
    """

    def __init__(self, learner: OwnLearner) -> None:
        self._learner = learner
        self.output: Any = None
        """What the model returned in the last pass of the step."""
        self._stack = ExitStack()
        own, watch = weakref.ref(learner.own.model), self

        # Functions, not methods: a copy of the model would copy what a method belongs to.
        def begin(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
            if module is own() and _is_of_training(module):
                watch._begin(args, kwargs)

        def end(module: nn.Module, args: tuple[Any, ...], output: object) -> None:
            if module is own() and _is_of_training(module):
                watch._end(output)

        model = learner.own.model
        self._handles = [
            model.register_forward_pre_hook(begin, with_kwargs=True),
            model.register_forward_hook(end, always_call=True),
        ]

    def _begin(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        learner = self._learner
        if learner.batch is not None:  # another pass of the same step
            return
        learner.batch = dict(kwargs) if kwargs else args[0] if len(args) == 1 else args  # type: ignore[assignment]
        if learner.watching:
            learner.activations = self._stack.enter_context(watch_activations(learner.hidden_units()))

    def _end(self, output: object) -> None:
        self._stack.close()
        self.output = output

    def end_step(self) -> None:
        """Forget the passes of a step."""
        self._learner.activations = self._learner.batch = self.output = None

    def close(self) -> None:
        """Take the hooks out of the model."""
        for handle in self._handles:
            handle.remove()


def _is_of_training(module: nn.Module) -> bool:
    return module.training and torch.is_grad_enabled()
