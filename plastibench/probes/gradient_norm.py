"""Norm of the gradient on the newest chunk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch.nn.utils import get_total_norm

from plastibench.api import Learner, Probe, Scope, parameters_in, setting


@dataclass(frozen=True, kw_only=True)
class GradientNorm(Probe):
    """L2 norm of the gradient of the mean loss on the newest chunk (arXiv 2410.23495).

    Without augmentation and in evaluation mode. The DASH code sums the gradients of batches instead.
    """

    scope: Scope = "all"
    """Which parameters count: see `Scope`."""
    batch_size: int = setting(256, within=(1, None))
    """Examples of the chunk taken at once."""

    units: ClassVar[Mapping[str, str]] = {"l2": "loss per unit of weight"}

    def measure(self, learner: Learner) -> Mapping[str, float]:
        """Return the norm."""
        model, stage = learner.model.eval(), learner.stage
        model.zero_grad(set_to_none=True)
        chunk = stage.train[len(stage.train) - stage.num_new :]
        for x, y in chunk.batches(self.batch_size):
            learner.backward(model, x, y, weight=len(y) / stage.num_new)
        gradients = [w.grad for w in parameters_in(model, self.scope) if w.grad is not None]
        return {"l2": float(get_total_norm(gradients))}
