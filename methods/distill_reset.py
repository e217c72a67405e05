"""Reset and distill: start from new weights, taught by the model of the stage before."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from plastibench.api import Learner, Method, tune


@dataclass(kw_only=True)
class DistillReset(Method):
    """New weights; loss + strength T^2 KL(p_old || p), softened by T (Ahn et al. 2025, arXiv 2403.05066).

    Reset & Distill, carried over from reinforcement learning to stored data: `p_old` are the probabilities
    of the model of the stage before, in eval mode, on the same batch. Beside `cold` it tells what knowledge
    in the outputs is worth, and beside `warm` what it is worth to have it in the weights. Where classes
    arrive, the divergence is over those that the old model was trained with.

    Cost: one forward pass for each training step, a third of the step; the memory of one copy of the model.
    """

    optimizer_state: Literal["clear"] = "clear"
    batch_norm: Literal["reset"] = "reset"
    strength: float = tune(1.0, 0.1, 10.0, log=True, within=(0.0, None))
    """Weight of the divergence."""
    temperature: float = tune(2.0, 1.0, 4.0, within=(1e-3, None))
    """Of the softmax of both models in the penalty."""
    teacher: nn.Module | None = field(default=None, init=False)
    num_classes: int | None = field(default=None, init=False)
    """Of the classes that the teacher was trained with; None if it was with all."""

    capturable: ClassVar[bool] = True

    def before_stage(self, learner: Learner) -> None:
        """Keep the old model as the teacher, and draw a new one."""
        self.teacher = copy.deepcopy(learner.model).eval()
        learner.restart()

    def loss_term(self, learner: Learner, logits: Tensor, y: Tensor) -> Tensor | float:
        """Return the divergence from the teacher on the batch."""
        if self.teacher is None or learner.batch is None:
            return 0.0
        taught = learner.forward(self.teacher, learner.batch)
        old, new = (
            F.log_softmax(out[:, : self.num_classes].float() / self.temperature, dim=1)
            for out in (taught, logits)
        )
        divergence = F.kl_div(new, old, reduction="batchmean", log_target=True)
        return self.strength * self.temperature**2 * divergence

    def after_stage(self, learner: Learner) -> None:
        """Remember which classes the model was trained with."""
        self.num_classes = learner.stage.num_classes
