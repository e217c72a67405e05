"""Weight decay: shrink weights a little at every step, as the optimizer's own option."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from plastibench.api import Learner, Method, tune


@dataclass(kw_only=True)
class WeightDecay(Method):
    """g <- g + strength * w, or w <- w - lr * strength * w (Loshchilov & Hutter 2019, arXiv 1711.05101).

    The second form is that of adamw and muon, the first that of all other optimizers. The strength takes the
    place of the recipe's weight decay; what can be compared between recipes is lr * strength * steps. Weights
    before a normalization compute the same when they shrink, but their effective learning rate rises. Norms
    and biases are left out by default, as is advised against loss of plasticity; much published code includes
    them.

    Cost: none that can be measured, and no memory.
    """

    strength: float | None = tune(5e-4, 1e-6, 1e-1, log=True, within=(0.0, None))
    """lambda; none keeps the recipe's weight decay."""
    scope: Literal["matrices", "all"] = "matrices"
    """matrices are the parameters of at least two dimensions; all includes norms and biases."""

    disabled: ClassVar[Mapping[str, Any]] = {"strength": None, "scope": "all"}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"dohare_2024": {"strength": 3e-6, "scope": "all"}}

    def recipe_changes(self) -> Mapping[str, Any]:
        """Let the optimizer have this decay."""
        return {} if self.strength is None else {"weight_decay": self.strength}

    def start(self, learner: Learner) -> None:
        """Give norms and biases a parameter group of their own, without decay."""
        group = learner.optimizer.param_groups[0]
        vectors = [p for p in group["params"] if p.dim() < 2]
        if self.scope == "matrices" and vectors:
            group["params"] = [p for p in group["params"] if p.dim() >= 2]
            learner.optimizer.add_param_group({**group, "params": vectors, "weight_decay": 0.0})
