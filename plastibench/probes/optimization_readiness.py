"""Optimization readiness: how strong and how reliable the gradient is on the data that have just arrived."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from plastibench.api import (
    Learner,
    Probe,
    inner_product,
    measuring_model,
    new_data,
    sample_examples,
    setting,
    take_gradient,
)


@dataclass(frozen=True, kw_only=True)
class OptimizationReadiness(Probe):
    """||g||^4 / (L E_b ||g_b||^2), strength ||g||^2 / L times reliability ||g||^2 / E_b ||g_b||^2 (2026).

    g_b are gradients of the mean loss on mini-batches of the newest data, g is their mean, L the mean loss.
    `noise_scale` is tr(Sigma) / ||g||^2, where Sigma is the covariance of the gradients of single examples,
    estimated from the spread of g_b (McCandlish et al. 2018, arXiv 1812.06162). In evaluation mode, before
    the first step of a stage.
    """

    num_batches: int = setting(128, within=(2, None))
    """Mini-batches, or as many as the newest data give."""
    batch_size: int = setting(8, within=(2, None))
    """Examples of a mini-batch."""

    units: ClassVar[Mapping[str, str]] = {
        "readiness": "loss per squared unit of weight",
        "noise_scale": "examples",
        "loss": "nats",
    }
    moments: ClassVar[tuple[str, ...]] = ("stage_start",)

    def measure(self, learner: Learner) -> Mapping[str, float]:
        """Return the three measurements; NaN if the newest data give fewer than two mini-batches."""
        stage, size = learner.stage, self.batch_size
        count = min(self.num_batches, stage.num_new // size)
        if count < 2:
            return dict.fromkeys(self.units, float("nan"))
        model = measuring_model(learner)
        data = sample_examples(new_data(stage), count * size, learner.generator)
        losses, squares, total = list[Tensor](), list[Tensor](), list[Tensor]()
        for x, y in data.batches(size):
            losses.append(learner.backward(model, x, y))
            gradient = [*take_gradient(model).values()]
            squares.append(inner_product(gradient, gradient))
            total = [a + b for a, b in zip(total, gradient, strict=True)] if total else gradient
        loss, square = (float(torch.stack(values).mean()) for values in (losses, squares))
        strength = float(inner_product(total, total)) / count**2
        variance = size * (square - strength) * count / (count - 1)
        return {
            "readiness": strength**2 / (loss * square) if loss * square else float("nan"),
            "noise_scale": variance / strength if strength else float("nan"),
            "loss": loss,
        }
