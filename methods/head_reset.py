"""Head reset: initialize the last layer or layers again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch

from plastibench.api import ImageTask, Learner, Method, Task, find_head, tune, weight_layers


@dataclass(kw_only=True)
class HeadReset(Method):
    """Initialize the last `layers` layers again (Nikishin et al. 2022, arXiv 2205.07802).

    The DASH code (arXiv 2410.23495, Reset) does so with one layer of a ResNet and with all three linear
    layers of VGG-16, uses torch's default initialization, and keeps the optimizer state.

    Cost: a new model is drawn in every stage.
    """

    optimizer_state: Literal["keep", "clear", "clear_touched"] = "keep"  # type: ignore[assignment]
    """clear_touched clears the state of the reset layers only."""
    layers: int = tune(1, 1, 3, within=(1, None))
    """How many of the last layers are reset."""
    initializer: Literal["model", "torch"] = "model"
    """The model's own initialization, or torch's default for the layer."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "dash_2024": {"layers": 1, "initializer": "torch"},
        "dash_2024_vgg": {"layers": 3, "initializer": "torch"},
    }

    def before_stage(self, learner: Learner) -> None:
        """Copy the weights of newly initialized layers; a weight that they share changes wherever it is."""
        head = learner.head_name()
        layers = weight_layers(learner.model, head=head)[-self.layers :]
        new_layers = weight_layers(learner.fresh_model(), head=head)[-self.layers :]
        for layer, new_layer in zip(layers, new_layers, strict=True):
            if self.initializer == "torch":
                with torch.random.fork_rng(devices=[]):
                    torch.default_generator.manual_seed(self._seed(learner))
                    new_layer.to("cpu").reset_parameters()
            new_parameters = new_layer.parameters(recurse=False)
            for parameter, new_parameter in zip(layer.parameters(recurse=False), new_parameters, strict=True):
                if parameter.requires_grad:
                    parameter.copy_(new_parameter)
            if self.optimizer_state == "clear_touched":
                learner.reset_optimizer_state(layer.parameters(recurse=False))

    def unsupported(self, task: Task) -> str | None:
        """Return the reason if the model has fewer layers, or one that torch cannot initialize.

        Raises RequestError if it is not known which layer is the head.
        """
        model, head = task.model(), task.architecture.head
        if head is None and isinstance(task, ImageTask):
            head = find_head(model, task.input_shape())
        layers = weight_layers(model, head=head)
        if self.layers > len(layers):
            return f"layers={self.layers}, but the model has only {len(layers)}"
        for layer in layers[-self.layers :]:
            if self.initializer == "torch" and not hasattr(layer, "reset_parameters"):
                return f"initializer=torch, but {type(layer).__name__} has no reset_parameters"
        return None

    @staticmethod
    def _seed(learner: Learner) -> int:
        return int(torch.randint(2**62, (), generator=learner.generator))
