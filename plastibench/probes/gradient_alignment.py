"""Gradients on old and on new data: their norms, and the cosine of the angle between them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from plastibench.api import (
    Learner,
    Probe,
    by_layer,
    cosine,
    inner_product,
    mean_gradient,
    measuring_model,
    new_data,
    old_data,
    sample_examples,
    setting,
)

Gradient = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class GradientAlignment(Probe):
    """cos(g_old, g_new) beside cos(g_old, g_old'), which is what sampling alone gives (arXiv 2410.23495).

    Each g is the gradient of the mean loss, without augmentation and in evaluation mode, on as many examples:
    two disjoint halves of an old sample, and a new sample. So `ratio`, the first cosine divided by the
    second, is 1 on average if old and new data have the same distribution. `norm_all` is that of the
    mean over the stage's data, (n_old g_old + n_new g_new) / n. The DASH code adds up batches instead of
    averaging them, so that its norm grows with the data.
    """

    examples: int = setting(512, within=(1, None))
    """Most examples of each of the three samples."""

    units: ClassVar[Mapping[str, str]] = {
        "norm_old": "loss per unit of weight",
        "norm_new": "loss per unit of weight",
        "norm_all": "loss per unit of weight",
        "cosine": "",
        "noise_floor": "",
        "ratio": "",
        "cosine[*]": "",
    }
    moments: ClassVar[tuple[str, ...]] = ("stage_start", "stage_end")

    def measure(self, learner: Learner) -> Mapping[str, float]:
        """Return norms and cosines; without old data, all but that of the new data are NaN."""
        measuring_model(learner)
        stage, nan = learner.stage, float("nan")
        size = min(self.examples, stage.num_new, len(old_data(stage)) // 2)
        if size == 0:
            new = mean_gradient(learner, sample_examples(new_data(stage), self.examples, learner.generator))
            return {**dict.fromkeys((k for k in self.units if "[" not in k), nan), "norm_new": _norm(new)}
        old_sample = sample_examples(old_data(stage), 2 * size, learner.generator)
        new_sample = sample_examples(new_data(stage), size, learner.generator)
        old, other, new = (
            mean_gradient(learner, data) for data in (old_sample[:size], old_sample[size:], new_sample)
        )
        share = stage.num_new / len(stage.train)
        mixed = {name: (1 - share) * old[name] + share * new[name] for name in old}
        between, floor = _cosine(old, new), _cosine(old, other)
        layers_old, layers_new = by_layer(old), by_layer(new)
        return {
            "norm_old": _norm(old),
            "norm_new": _norm(new),
            "norm_all": _norm(mixed),
            "cosine": between,
            "noise_floor": floor,
            "ratio": between / floor if floor else nan,
            **{f"cosine[{layer}]": cosine(layers_old[layer], layers_new[layer]) for layer in layers_old},
        }


def _norm(gradient: Gradient) -> float:
    return math.sqrt(inner_product([*gradient.values()], [*gradient.values()]))


def _cosine(a: Gradient, b: Gradient) -> float:
    return cosine([*a.values()], [*b.values()])
