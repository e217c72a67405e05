"""Sharpness: the largest eigenvalue of the loss's Hessian."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from plastibench.api import (
    Learner,
    Probe,
    hessian_product,
    inner_product,
    measuring_model,
    sample_examples,
    setting,
    trained_parameters,
)

Vector = list[Tensor]
DOMINANT = 0.9
"""Least share of ||H v|| that lambda has if the eigenvalue of largest size is positive."""


@dataclass(frozen=True, kw_only=True)
class Sharpness(Probe):
    """The largest eigenvalue of the Hessian of the mean loss (Cohen et al. 2021, arXiv 2103.00065).

    By power iteration: v <- H v / ||H v||, lambda = v.H v, from a random v, until lambda changes by at most
    `tolerance` of itself. If negative eigenvalues are as large, so that lambda < 0.9 ||H v||, the iteration
    is repeated with H + ||H v|| I. In evaluation mode, in full precision, over all trained parameters.
    Weights before batch normalization can be scaled without a change of the function, and their curvature
    then changes: a smaller norm looks sharper.
    """

    examples: int = setting(1024, within=(1, None))
    """Training examples of the stage, drawn at random."""
    tolerance: float = setting(0.01, within=(0.0, 1.0))
    """Relative change at which an iteration ends."""
    max_products: int = setting(100, within=(2, None))
    """Most products with the Hessian of one iteration."""

    units: ClassVar[Mapping[str, str]] = {
        "top_eigenvalue": "loss per squared unit of weight",
        "products": "products with the Hessian",
    }

    def measure(self, learner: Learner) -> Mapping[str, float]:
        """Return the eigenvalue, and the products with the Hessian that it took."""
        model = measuring_model(learner)
        data = sample_examples(learner.stage.train, self.examples, learner.generator)
        shapes = [*trained_parameters(model).values()]
        start = [torch.randn(w.shape, generator=learner.generator).to(w.device) for w in shapes]

        def product(vector: Vector, shift: float = 0.0) -> Vector:
            hessian = hessian_product(learner, data, vector)
            return [one + shift * part for one, part in zip(hessian, vector, strict=True)]

        top, size, count = self._iterate(product, start)
        if top < DOMINANT * size:
            shifted, _, more = self._iterate(partial(product, shift=size), start)
            top, count = shifted - size, count + more
        return {"top_eigenvalue": top, "products": count}

    def _iterate(self, product: Callable[[Vector], Vector], vector: Vector) -> tuple[float, float, int]:
        """Return the eigenvalue of largest size, the size of H v, and the number of products."""
        value, size, count = float("inf"), float(inner_product(vector, vector).sqrt()), 0
        while count < self.max_products and size:
            unit = [part / size for part in vector]
            vector, before, count = product(unit), value, count + 1
            value, size = float(inner_product(unit, vector)), float(inner_product(vector, vector).sqrt())
            if abs(value - before) <= self.tolerance * abs(value):
                break
        return value, size, count
