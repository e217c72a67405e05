"""Layerwise reinitialization: rescale the first blocks to their initial spread, draw the rest again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import Parameter

from plastibench.api import (
    BatchNormPolicy,
    Learner,
    Method,
    OptimizerStatePolicy,
    parameters_in,
    setting,
    weight_layers,
)


@dataclass(kw_only=True)
class LayerwiseReinit(Method):
    """W <- W * std(W0) / std(W) in the first t blocks before stage t + 1, and new weights in the others.

    Bottom-up reinitialization (Alabdulmohsin et al. 2021, arXiv 2109.00267): what is low in the network
    is kept longest. From stage blocks + 1 on nothing is drawn. form=rescale is the first half alone, for all
    weights: a baseline of arXiv 2507.04683, weight rescaling. The paper also inserts a fixed normalization
    after the blocks that are kept, which is left out here.

    A block is an equal share of the layers, in the order in which the model lists them, the head last; other
    parameters belong to the block of the layer before them. Biases and normalization that are kept do not
    change.

    Cost: none but a draw of the initial weights, and the memory of one copy of the weights.
    """

    optimizer_state: OptimizerStatePolicy = "clear"
    batch_norm: BatchNormPolicy = "reset"
    form: Literal["layerwise", "rescale"] = "layerwise"
    """Both halves, or the rescaling of all weights alone."""
    blocks: int = setting(4, within=(1, None), only=("form", "layerwise"))
    """Number of blocks; more than there are layers are as many as there are layers."""
    spread: list[Tensor] = field(default_factory=list, init=False)
    """Standard deviation of each parameter at the start of the run."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "alabdulmohsin_2021": {},
        "oh_2025_rescaling": {"form": "rescale"},
    }

    def start(self, learner: Learner) -> None:
        """Measure the spread of the initial weights."""
        self.spread = [weight.std(correction=0) for weight in learner.model.parameters()]

    def before_stage(self, learner: Learner) -> None:
        """Rescale the blocks that are kept, and copy new weights into the others."""
        blocks, layers = self._block_of_each(learner), set(parameters_in(learner.model, "layers"))
        fresh = learner.fresh_model().parameters()
        for weight, new, spread in zip(learner.model.parameters(), fresh, self.spread, strict=True):
            if not weight.requires_grad:
                continue
            if self.form == "layerwise" and blocks[weight] >= learner.stage.index:
                weight.copy_(new)
            elif weight in layers and weight.dim() > 1:
                now = weight.std(correction=0)
                weight.mul_(torch.where(now > 0, spread / now, 1.0))

    def _block_of_each(self, learner: Learner) -> dict[Parameter, int]:
        """Return the index of the block of each parameter, from 0."""
        layers = weight_layers(learner.model, head=learner.head_name())
        num_blocks = min(self.blocks, len(layers))
        index = {layer: i * num_blocks // len(layers) for i, layer in enumerate(layers)}
        blocks, present = dict[Parameter, int](), 0
        for module in learner.model.modules():
            block = present = index.get(module, present)
            for parameter in module.parameters(recurse=False):
                blocks.setdefault(parameter, block)
        return blocks
