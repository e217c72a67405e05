"""Stage soup: evaluate the mean of the models at the ends of the last stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from plastibench.api import Learner, Method, averaged_tensors, model_with, tune


@dataclass(kw_only=True)
class StageSoup(Method):
    """(w_1 + ... + w_s) / s over the ends of the last s stages (Wortsman et al. 2022, arXiv 2203.05482).

    Training continues from the newest weights and never sees the mean. Only models of one basin have a useful
    mean, which warm-started ones may be: the accuracy of the mean of two shows it. Running statistics of
    batch normalization are measured again on the training data, since their mean does not belong to the mean
    of weights.

    Cost: one forward pass over the training data a stage (reestimated), and s copies of the weights.
    """

    models: int = tune(3, 2, 10, within=(1, None))
    """s; in earlier stages the mean is of as many as there are."""
    statistics: Literal["reestimated", "averaged"] = "reestimated"
    """Running statistics of batch normalization in the evaluated model."""
    ends: dict[int, list[Tensor]] = field(default_factory=dict, init=False)
    """The weights at the end of a stage, by its index."""
    deployed: nn.Module | None = field(default=None, init=False)
    deployed_at: int = field(default=-1, init=False)
    """The step after which `deployed` was made."""

    disabled: ClassVar[Mapping[str, Any]] = {"models": 1, "statistics": "averaged"}

    def before_stage(self, learner: Learner) -> None:
        """Forget the model that was evaluated, and weights that have no part in the next mean."""
        self.deployed, self.deployed_at = None, -1
        self.ends.pop(learner.stage.index - self.models, None)

    def evaluated(self, learner: Learner) -> nn.Module:
        """Return a model with the mean, made once for each step."""
        if self.deployed is None or self.deployed_at != learner.step:
            self.ends[learner.stage.index] = [tensor.clone() for tensor in averaged_tensors(learner.model)]
            means = [torch.stack(tensors).mean(0) for tensors in zip(*self.ends.values(), strict=True)]
            self.deployed, self.deployed_at = model_with(learner.model, means), learner.step
            if self.statistics == "reestimated":
                learner.reestimate_batch_norm(self.deployed)
        return self.deployed
