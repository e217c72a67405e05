"""Sharpness-aware minimization: take the gradient where the loss is worst nearby."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from plastibench.api import Method, Task, tune


@dataclass(kw_only=True)
class Sam(Method):
    """g(w + rho * g(w) / ||g(w)||_2) moves w (Foret et al. 2021, arXiv 2010.01412, equation 2).

    The norm is that over all parameters. The adaptive form has e = rho * |w|^2 * g / || |w| * g ||_2 (Kwon et
    al. 2021, arXiv 2102.11600, equation 6). Inside is SGD with the recipe's rate, momentum and decay; a
    recipe whose optimizer is `sam` gives SAM to all methods.

    Cost: two passes a step, so 2x the FLOPs of training; one copy of the weights within a step.
    """

    rho: float = tune(0.1, 0.01, 0.5, log=True, within=(0.0, None))
    """Radius of the ascent step; 0 trains as the recipe says."""
    adaptive: bool = False
    """Scale the ascent step by the absolute value of each weight."""
    statistics: Literal["first", "both"] = "first"
    """Which of the two passes update the running statistics of batch normalization."""

    disabled: ClassVar[Mapping[str, Any]] = {"rho": 0.0}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "dash_2024": {"statistics": "both"},
        "kwon_2021": {"rho": 0.5, "adaptive": True},
    }

    def recipe_changes(self) -> Mapping[str, Any]:
        """Return the settings of SAM."""
        if self.rho == 0:
            return {}
        sam = {"rho": self.rho, "adaptive": self.adaptive, "sam_statistics": self.statistics}
        return {"optimizer": "sam", **sam}

    def unsupported(self, task: Task) -> str | None:
        """Return the reason if the recipe's optimizer is not SGD."""
        if task.recipe.optimizer in ("sgd", "sam") or self.rho == 0:
            return None
        return f"it is SAM around SGD, and the recipe has optimizer={task.recipe.optimizer}"
