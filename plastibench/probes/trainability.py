"""Trainability: how much a few updates of a copy reduce the loss, beside those of a fresh network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from plastibench.api import Learner, Probe, new_data, sample_examples, setting


@dataclass(frozen=True, kw_only=True)
class Trainability(Probe):
    """mean over k = 1..K of L_0 - L_k, after k updates on one batch of new data (arXiv 2610.09621).

    L_k is the loss on that batch, in training mode. The optimizer is the recipe's, made anew, at its full
    learning rate. `control` is the same with a fresh network, which must improve: if it does not, the probe
    says nothing. A network that already fits the data has little left to improve: compare `first_loss`,
    or take `labels=shuffled`, which no network has seen (Lyle et al. 2023, arXiv 2303.01486).
    """

    steps: int = setting(100, within=(1, None))
    """K."""
    examples: int = setting(128, within=(2, None))
    """Most examples in the batch."""
    labels: Literal["true", "shuffled"] = "true"
    """Those of the data, or the same ones in random order."""

    units: ClassVar[Mapping[str, str]] = {
        "improvement": "nats",
        "control": "nats",
        "ratio": "improvement of a fresh network",
        "first_loss": "nats",
    }
    moments: ClassVar[tuple[str, ...]] = ("stage_start",)

    def measure(self, learner: Learner) -> Mapping[str, float]:
        """Return improvements and the loss before the first update."""
        data = sample_examples(new_data(learner.stage), self.examples, learner.generator)
        x, y = next(data.batches(self.examples))
        if self.labels == "shuffled":
            y = y[torch.randperm(len(y), generator=learner.generator).to(y.device)]
        learner.reset_optimizer()
        improvement, first_loss = self._improve(learner, x, y)
        learner.restart()
        control, _ = self._improve(learner, x, y)
        return {
            "improvement": improvement,
            "control": control,
            "ratio": improvement / control if control else float("nan"),
            "first_loss": first_loss,
        }

    def _improve(self, learner: Learner, x: Tensor, y: Tensor) -> tuple[float, float]:
        """Return the mean improvement and the first loss."""
        model, losses = learner.model.train(), list[Tensor]()
        for _ in range(self.steps):
            passes: list[Tensor] = []

            def closure(passes: list[Tensor] = passes) -> Tensor:
                model.zero_grad(set_to_none=True)
                passes.append(learner.backward(model, x, y))
                return passes[-1]

            learner.optimizer.step(closure)  # type: ignore[arg-type]  # as every optimizer takes it
            losses.append(passes[0])
        losses.append(learner.backward(model, x, y))
        loss = torch.stack(losses)
        return float((loss[0] - loss[1:]).mean()), float(loss[0])
