"""FIRE: replace each weight matrix by the orthogonal matrix that is nearest to it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from plastibench.api import (
    BatchNormPolicy,
    Learner,
    Method,
    OptimizerStatePolicy,
    setting,
    tune,
    weight_layers,
)


@dataclass(kw_only=True)
class Fire(Method):
    """W <- s W (W^T W)^(-1/2) (Han et al. 2026, arXiv 2602.08040), X <- 1.5 X - 0.5 X X^T X from W / ||W||.

    Each linear layer is one matrix (out, in) with s = sqrt(out / in); each position of a kernel of a
    convolution is one, with s divided by the number of positions. Biases, normalization and other layers,
    such as torch's attention and recurrent layers, are left alone. In a vision transformer the paper changes
    the projections of queries and keys alone (preset han_2026_vit). A matrix of zeros stays as it is.

    After 10 iterations small singular values are still far from 1. The result is several times smaller than
    the initial weights: behind a normalization that raises the effective learning rate, so norm=trained and
    norm=initial restore the norm, as controls. source=fresh takes a new draw of the weights instead of the
    trained ones: orthogonal reinitialization. The function of the model is not preserved.

    Cost: 4 n^2 m FLOPs per iteration for a matrix of n x m, n <= m: less than half a training step of
    ResNet-18 a stage; the memory of a few copies of one layer.
    """

    optimizer_state: OptimizerStatePolicy = "clear"
    batch_norm: BatchNormPolicy = "reset"
    iterations: int = tune(10, 5, 20, within=(1, None))
    """Of Newton and Schulz."""
    norm: Literal["published", "trained", "initial"] = "published"
    """Norm of each parameter afterwards: s, or that of the trained or initial weights."""
    source: Literal["trained", "fresh"] = "trained"
    """The trained weights, or a new draw of them: orthogonal reinitialization, a control."""
    only: tuple[str, ...] = setting(())
    """Endings of the names of the layers to change, such as query,key; empty changes all."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "han_2026": {"batch_norm": "keep"},
        "han_2026_vit": {"batch_norm": "keep", "only": ("query", "key")},
    }

    def before_stage(self, learner: Learner) -> None:
        """Replace the weight of each linear layer and convolution."""
        weights = self._weights(learner.model)
        sources = weights if self.source == "trained" else self._weights(learner.fresh_model())
        initial = self._weights(learner.initial_model()) if self.norm == "initial" else weights
        for weight, source, first in zip(weights, sources, initial, strict=True):
            length = first.norm()
            with learner.counting():
                orthogonal = self._orthogonal(source)
            if self.norm != "published":
                orthogonal *= length / orthogonal.norm().clamp_min(1e-12)
            weight.copy_(orthogonal)

    def _orthogonal(self, weight: Tensor) -> Tensor:
        """Return the scaled orthogonal factor of each matrix in a weight (out, in, *kernel)."""
        matrices = weight.flatten(2).permute(2, 0, 1) if weight.dim() > 2 else weight[None]
        count, rows, columns = matrices.shape
        x = matrices if rows <= columns else matrices.mT  # X X^T is the smaller product
        x = x / x.norm(dim=(1, 2), keepdim=True).clamp_min(1e-12)
        for _ in range(self.iterations):
            x = 1.5 * x - 0.5 * (x @ x.mT) @ x
        x = (x if rows <= columns else x.mT) * (math.sqrt(rows / columns) / count)
        result: Tensor = x.permute(1, 2, 0).reshape(weight.shape)
        return result

    def _weights(self, model: nn.Module) -> list[Tensor]:
        names = {module: name for name, module in model.named_modules()}
        layers = [layer for layer in weight_layers(model) if isinstance(layer, nn.Linear | _ConvNd)]
        chosen = [one for one in layers if not self.only or names[one].endswith(self.only)]
        return [weight for weight in dict.fromkeys(one.weight for one in chosen) if weight.requires_grad]
