"""My idea: say here in one line what it does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from plastibench.api import Learner, Method, parameters_in, tune


@dataclass(kw_only=True)
class MyIdea(Method):
    """w <- factor * w before each stage (authors and year, arXiv 0000.00000, equation 1).

    Cost: one product for each weight in every stage.
    """

    # A setting: `--set my_idea.factor=0.9`; `tune` searches 0.1 to 0.95, and `within` is what is allowed.
    factor: float = tune(0.5, 0.1, 0.95, within=(0.0, 1.0))
    """What the weights are multiplied by."""

    # With these settings it must equal a warm start, bit for bit.
    disabled: ClassVar[Mapping[str, Any]] = {"factor": 1.0}

    # Other hooks: build, start, loss_term, after_step, after_stage, evaluated, unsupported (docs/methods.md).
    def before_stage(self, learner: Learner) -> None:
        """Act before every stage but the first, without gradients."""
        for weight in parameters_in(learner.model, "layers"):
            weight.mul_(self.factor)
