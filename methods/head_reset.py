"""Head reset: redraw the last layer or layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch

from plastibench.api import Learner, Method, Task, tune, weight_layers


@dataclass(kw_only=True)
class HeadReset(Method):
    """Redraw the last `layers` layers from their initializer (Nikishin et al. 2022, arXiv 2205.07802).

    The DASH code (arXiv 2410.23495, Reset) redraws one layer of a ResNet and all three linear
    layers of VGG-16, from torch's default initializer, and keeps the optimizer's state.
    """

    optimizer_state: Literal["keep", "clear", "clear_touched"] = "keep"  # type: ignore[assignment]
    """clear_touched forgets the momentum of the redrawn layers alone."""
    layers: int = tune(1, 1, 3, within=(1, None))
    initializer: Literal["model", "torch"] = "model"
    """Draw as the model initializes itself, or as torch initializes a layer by default."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "dash_2024": {"layers": 1, "initializer": "torch"},
        "dash_2024_vgg": {"layers": 3, "initializer": "torch"},
    }

    def before_stage(self, learner: Learner) -> None:
        """Copy the layers of a freshly drawn model over the old ones."""
        old = weight_layers(learner.model)[-self.layers :]
        new = weight_layers(learner.fresh_model())[-self.layers :]
        for layer, fresh in zip(old, new, strict=True):
            if self.initializer == "torch":
                with torch.random.fork_rng(devices=[]):
                    torch.default_generator.manual_seed(self._seed(learner))
                    fresh.to("cpu").reset_parameters()
            for parameter, drawn in zip(layer.parameters(), fresh.parameters(), strict=True):
                parameter.copy_(drawn)
            if self.optimizer_state == "clear_touched":
                learner.reset_optimizer_state(layer.parameters())

    def unsupported(self, task: Task) -> str | None:
        """Return the reason where the model has fewer layers than are to be redrawn."""
        found = len(weight_layers(task.model()))
        return f"layers={self.layers}, but the model has {found}" if self.layers > found else None

    @staticmethod
    def _seed(learner: Learner) -> int:
        return int(torch.randint(2**62, (), generator=learner.generator))
