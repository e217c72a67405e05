"""DASH: shrink each weight vector according to its agreement with the negative gradient."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from plastibench.api import (
    BatchNorm,
    Learner,
    Method,
    OptimizerState,
    parameters_in,
    setting,
    tune,
    weight_layers,
)

MICRO_BATCH = 1024


@dataclass(kw_only=True)
class Dash(Method):
    """w <- w * max(floor, cos(w, -G_j)) (Shin et al. 2024, arXiv 2410.23495, algorithm 1).

    G_i = (1 - momentum) G_{i-1} + momentum g_i, over the chunks i = 1..j in order of arrival, g_i
    the gradient of the mean loss on chunk i without augmentation. One cosine a row of a linear
    layer, one a (output, input) pair of a convolution, one a whole bias vector; a 1x1 convolution's
    pair is a single number, so its factor is 1 or the floor. Normalization layers are left alone.
    """

    optimizer_state: OptimizerState = "keep"
    batch_norm: BatchNorm = "keep"
    floor: float = tune(0.3, 0.01, 0.7, log=True, within=(-1.0, 1.0))
    """The smallest factor, lambda; 1 leaves every weight as it is."""
    momentum: float = tune(0.3, 0.02, 1.0, log=True, within=(0.0, 1.0))
    """Share of the newest chunk in the average gradient, alpha; 0 shrinks everything to the floor."""
    gradient_mode: Literal["eval", "train"] = "eval"
    """Whether batch norm and dropout act as in evaluation (the DASH code) or as in training."""
    micro_batch: int | None = setting(None, within=(2, None))
    """Examples of a chunk taken at once in eval mode, 1024 where none; in train mode a chunk is one batch."""

    disabled: ClassVar[Mapping[str, Any]] = {"floor": 1.0}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "dash_2024": {},
        "dash_2024_low": {"floor": 0.05},
    }

    def __post_init__(self) -> None:
        """Check that micro-batches are asked for only where they change nothing."""
        super().__post_init__()
        if self.gradient_mode == "train" and self.micro_batch is not None:
            raise ValueError(
                f"micro_batch={self.micro_batch} is not allowed with gradient_mode=train: batch "
                "normalization would see the micro-batch instead of the chunk"
            )

    def before_stage(self, learner: Learner) -> None:
        """Average the gradient over all stored chunks, then shrink."""
        average = self._gradient(learner)
        for layer in weight_layers(learner.model):
            layer.weight.mul_(self.factors(layer.weight, average[layer.weight]))
            if layer.bias is not None:
                layer.bias.mul_(self.factors(layer.bias, average[layer.bias]))

    def factors(self, weight: Tensor, gradient: Tensor) -> Tensor:
        """Return the factor of each weight vector, in a shape that broadcasts over `weight`."""
        dims = {1: (0,), 2: (1,), 4: (2, 3)}[weight.dim()]
        vector, against = weight.flatten(dims[0]), -gradient.flatten(dims[0])
        cosine = F.cosine_similarity(against, vector, dim=-1)
        return cosine.clamp(self.floor, 1.0).reshape(*cosine.shape, *(1 for _ in dims))

    def _gradient(self, learner: Learner) -> dict[Tensor, Tensor]:
        probe = copy.deepcopy(learner.model).train(self.gradient_mode == "train")
        theirs = parameters_in(probe, "layers")
        average = [torch.zeros_like(w) for w in theirs]
        for batches in self._chunks(learner):
            probe.zero_grad(set_to_none=True)
            for x, y, share in batches:
                learner.backward(probe, x, y, weight=share)
            for kept, weight in zip(average, theirs, strict=True):
                if weight.grad is not None:
                    # Rounded as the DASH code rounds: where chunks cancel, a fused product would show.
                    kept.mul_(1 - self.momentum).add_(weight.grad.mul_(self.momentum))
        return dict(zip(parameters_in(learner.model, "layers"), average, strict=True))

    def _chunks(self, learner: Learner) -> Iterator[Iterator[tuple[Tensor, Tensor, float]]]:
        """Yield each chunk in order of arrival, as batches with their share of the chunk."""
        start = 0
        for size in learner.stage.chunks:
            chunk = learner.stage.train[start : start + size]
            whole = size if self.gradient_mode == "train" else self.micro_batch or MICRO_BATCH
            yield ((x, y, len(y) / size) for x, y in chunk.batches(whole))
            start += size
