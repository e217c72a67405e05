"""Hare & Tortoise: train fast weights, and return them to their slow average from time to time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from plastibench.api import Learner, Method, averaged_tensors, model_with, tune


@dataclass(kw_only=True)
class HareTortoise(Method):
    """tortoise <- (1 - rate) * tortoise + rate * hare after each step (Lee et al. 2024, arXiv 2406.02596).

    The hare is what is trained. At the start of every later stage and after every `period` epochs of one, it
    becomes the tortoise: weights and running statistics; the optimizer's state is kept. The authors' code
    makes the two share memory at a swap until the next average; here they never do, and counters of batch
    normalization are not averaged.

    The tortoise begins with the initial weights, which it keeps for about 1 / rate steps: in shorter runs a
    swap is almost a reset to them. If the last epoch of a stage is one with a swap, both are evaluated equal.

    Cost: two element-wise updates a step, a second evaluation a stage, and one copy of the weights.
    """

    rate: float = tune(1e-3, 1e-4, 1e-1, log=True, within=(1e-9, 1.0))
    """What the hare counts in the tortoise at each step, 1 - mu."""
    period: int = tune(10, 1, 50, log=True, within=(1, None))
    """Epochs of a stage between two swaps."""
    evaluate: Literal["tortoise", "hare"] = "tortoise"
    """Whose accuracy counts; that of the other one is reported beside it."""
    tortoise: list[Tensor] = field(default_factory=list, init=False)
    steps: Tensor = field(default_factory=lambda: torch.zeros(()), init=False)
    """Steps taken in the stage."""

    capturable: ClassVar[bool] = True
    disabled: ClassVar[Mapping[str, Any]] = {"rate": 1.0}
    active: ClassVar[Mapping[str, Any]] = {"rate": 0.1, "period": 1}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"lee_2024": {"rate": 1e-3, "period": 10}}

    def start(self, learner: Learner) -> None:
        """Let the tortoise be a copy of the initial weights."""
        self.tortoise = [tensor.clone() for tensor in averaged_tensors(learner.model)]
        self.steps = torch.zeros((), dtype=torch.long, device=learner.device.torch_device)

    def before_stage(self, learner: Learner) -> None:
        """Return the hare to the tortoise."""
        torch._foreach_copy_(averaged_tensors(learner.model), self.tortoise)
        self.steps.zero_()

    def after_step(self, learner: Learner) -> None:
        """Let the tortoise follow; after the last step of a period, return the hare to it."""
        hare = averaged_tensors(learner.model)
        torch._foreach_lerp_(self.tortoise, hare, self.rate)
        self.steps.add_(1)
        swap = self.steps % (self.period * learner.steps_per_epoch()) == 0  # on the device: 1 or 0
        torch._foreach_lerp_(hare, self.tortoise, [swap.to(tensor.dtype) for tensor in hare])

    def after_stage(self, learner: Learner) -> None:
        """Report the accuracy of the other one, on the test data or, if they are held out, on validation."""
        stage, other = learner.stage, "hare" if self.evaluate == "tortoise" else "tortoise"
        data = stage.validation if stage.test is None else stage.test
        if data is not None:
            learner.log(f"{other}_accuracy", learner.accuracy(self._model(learner, other), data))

    def evaluated(self, learner: Learner) -> nn.Module:
        """Return a model with the weights of the tortoise, or the hare."""
        return self._model(learner, self.evaluate)

    def _model(self, learner: Learner, who: str) -> nn.Module:
        return learner.model if who == "hare" else model_with(learner.model, self.tortoise)
