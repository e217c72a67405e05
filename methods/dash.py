"""DASH: shrink each weight vector by its cosine similarity to the negative gradient."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from plastibench.api import (
    BatchNormPolicy,
    Learner,
    Method,
    OptimizerStatePolicy,
    parameters_in,
    setting,
    tune,
)

MICRO_BATCH = 1024


@dataclass(kw_only=True)
class Dash(Method):
    """w <- w * max(floor, cos(w, -G_j)) (Shin et al. 2024, arXiv 2410.23495, algorithm 1).

    G_i = (1 - momentum) G_{i-1} + momentum g_i, over the chunks i = 1..j in order of arrival, where g_i is
    the gradient of the mean loss on chunk i without augmentation. There is one cosine per row of a linear
    layer, per (output, input) pair of a convolution, and per bias vector; the pair of a 1x1 convolution is
    a single number, so its factor is 1 or the floor. Normalization layers do not change.

    The paper has no other layers. Here the projections of attention and the matrices of recurrent layers have
    one cosine per row, embeddings one per entry, and transposed convolutions one per pair of channels.

    `control` replaces one part. `permuted` gives the vectors of each parameter its factors in random order,
    `uniform` gives them all the mean factor of the parameter: if one is as good, then the direction of a
    vector does not matter, or not even the spread of the factors. `newest_chunk` takes the gradient on the
    newest chunk alone, `mean_gradient` that of the mean loss over all data: if one is as good, then the
    average over chunks does not matter.

    Cost: a forward and backward pass over all data of a stage (`newest_chunk`: over the newest chunk), and
    two copies of the weights meanwhile.
    """

    optimizer_state: OptimizerStatePolicy = "keep"
    batch_norm: BatchNormPolicy = "keep"
    floor: float = tune(0.3, 0.01, 0.7, log=True, within=(-1.0, 1.0))
    """The smallest factor, lambda; 1 changes no weight."""
    momentum: float = tune(0.3, 0.02, 1.0, log=True, within=(0.0, 1.0))
    """Weight of the newest chunk in the average gradient, alpha; 0 shrinks all weights by the floor."""
    gradient_mode: Literal["eval", "train"] = "eval"
    """The mode of batch normalization and dropout; the DASH code has eval."""
    micro_batch: int | None = setting(None, within=(2, None))
    """Most images of a batch in eval mode; none is 1024. In train mode the batch is the chunk."""
    control: Literal["none", "permuted", "uniform", "newest_chunk", "mean_gradient"] = "none"
    """What is replaced, to see whether it matters."""

    disabled: ClassVar[Mapping[str, Any]] = {"floor": 1.0}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "dash_2024": {},
        "dash_2024_low": {"floor": 0.05},
        "permuted": {"control": "permuted"},
        "uniform": {"control": "uniform"},
        "newest_chunk": {"control": "newest_chunk"},
        "mean_gradient": {"control": "mean_gradient"},
    }

    def __post_init__(self) -> None:
        """Raise ValueError for micro-batches that would change the result."""
        super().__post_init__()
        if self.gradient_mode == "train" and self.micro_batch is not None:
            raise ValueError(
                f"micro_batch={self.micro_batch} is not allowed with gradient_mode=train: batch "
                "normalization would see the micro-batch instead of the chunk"
            )

    def before_stage(self, learner: Learner) -> None:
        """Average the gradient over the chunks, then shrink the weights."""
        gradients = self._average_gradients(learner)
        for weight, gradient in gradients.items():
            weight.mul_(self._controlled(self.factors(weight, gradient), learner))

    def factors(self, weight: Tensor, gradient: Tensor) -> Tensor:
        """Return the factor of each weight vector, in a shape that broadcasts to that of `weight`."""
        first = min(weight.dim() - 1, 2)  # of the dimensions of a vector: bias 0, matrix 1, kernel 2
        vectors, directions = weight.flatten(first), -gradient.flatten(first)
        cosine = F.cosine_similarity(directions, vectors, dim=-1)
        return cosine.clamp(self.floor, 1.0).reshape(*cosine.shape, *[1] * (weight.dim() - first))

    def _controlled(self, factors: Tensor, learner: Learner) -> Tensor:
        if self.control == "permuted":
            order = torch.randperm(factors.numel(), generator=learner.generator)
            return factors.flatten()[order.to(factors.device)].reshape(factors.shape)
        return factors.mean() if self.control == "uniform" else factors

    def _average_gradients(self, learner: Learner) -> dict[Tensor, Tensor]:
        model = copy.deepcopy(learner.model).train(self.gradient_mode == "train")
        weights = parameters_in(model, "layers")
        averages = [torch.zeros_like(weight) for weight in weights]
        for batches in self._chunks(learner):
            model.zero_grad(set_to_none=True)
            for x, y, share in batches:
                learner.backward(model, x, y, weight=share, split=True)
            for average, weight in zip(averages, weights, strict=True):
                if weight.grad is not None:
                    # Rounded as in the DASH code: with a fused product, gradients that cancel would differ.
                    average.mul_(1 - self.momentum).add_(weight.grad.mul_(self.momentum))
        return dict(zip(parameters_in(learner.model, "layers"), averages, strict=True))

    def _chunks(self, learner: Learner) -> Iterator[Iterator[tuple[Tensor, Tensor, float]]]:
        """Yield each chunk in order of arrival, as (x, y, share of the chunk) batches."""
        sizes: tuple[int, ...] = learner.stage.chunks
        if self.control == "mean_gradient":
            sizes = (sum(sizes),)
        elif self.control == "newest_chunk":
            sizes = sizes[-1:]
        start = len(learner.stage.train) - sum(sizes)
        for size in sizes:
            chunk = learner.stage.train[start : start + size]
            batch_size = size if self.gradient_mode == "train" else self.micro_batch or MICRO_BATCH
            yield ((x, y, len(y) / size) for x, y in chunk.batches(batch_size))
            start += size
