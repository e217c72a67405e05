"""Norms of the weights of each layer, and how far they are from the run's initial weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from plastibench.api import Learner, Probe, by_layer, cosine, inner_product, trained_parameters


@dataclass(frozen=True, kw_only=True)
class LayerWeights(Probe):
    """||W||_F, its root mean square, ||W - W_0||_F / ||W_0||_F and cos(W, W_0) of each layer.

    A layer's trained parameters are one vector, its bias included; W_0 are the weights at the start of the
    run. A layer whose shapes have changed since has no distance. In a network with batch normalization the
    norm sets the effective learning rate, eta / ||W||^2 under SGD (Lyle et al. 2024, arXiv 2407.01800).
    Published codes divide norms by different sizes: these are plain.
    """

    units: ClassVar[Mapping[str, str]] = {
        "norm[*]": "",
        "rms[*]": "",
        "distance[*]": "norms of the initial weights",
        "cosine[*]": "",
    }

    def measure(self, learner: Learner) -> Mapping[str, float]:
        """Return the four measurements of each layer."""
        layers, first = (
            by_layer({name: weight.detach() for name, weight in trained_parameters(model).items()})
            for model in (learner.model, learner.initial_model())
        )
        values: dict[str, float] = {}
        for name, weights in layers.items():
            norm = math.sqrt(inner_product(weights, weights))
            values[f"norm[{name}]"] = norm
            values[f"rms[{name}]"] = norm / math.sqrt(sum(weight.numel() for weight in weights))
            initial = first.get(name, [])
            if [w.shape for w in weights] == [w.shape for w in initial]:
                moved = [w - w0 for w, w0 in zip(weights, initial, strict=True)]
                start = inner_product(initial, initial)  # 0 for biases, which then have no relative distance
                values[f"distance[{name}]"] = float((inner_product(moved, moved) / start).sqrt())
                values[f"cosine[{name}]"] = cosine(weights, initial)
        return values
