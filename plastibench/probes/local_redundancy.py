"""Local redundancy: how little the predictions depend on the weights, by gradients on drawn labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from plastibench.api import (
    Learner,
    Probe,
    inner_product,
    measuring_model,
    sample_examples,
    setting,
    take_gradient,
)


@dataclass(frozen=True, kw_only=True)
class LocalRedundancy(Probe):
    """E_x E_y ||grad -log p(y|x)||^2, labels y drawn from the model's predictions p(y|x) (arXiv 2607.13432).

    It is the trace of the Fisher information: if it is small, small changes of the weights hardly change any
    prediction. The gradient of such a loss is 0 on average over y, so b ||g||^2 of a batch of b examples has
    the expectation of the mean over its examples, with one backward pass. `batch_size=1` takes each example's
    own gradient, which scatters less and needs as many backward passes as examples.
    """

    examples: int = setting(1024, within=(1, None))
    """Training examples of the stage, drawn at random."""
    batch_size: int = setting(32, within=(1, None))
    """Examples of one backward pass."""

    units: ClassVar[Mapping[str, str]] = {"squared_gradient": "squared loss per squared unit of weight"}

    def measure(self, learner: Learner) -> Mapping[str, float]:
        """Return the mean squared norm of the gradient."""
        model, squares, total = measuring_model(learner), list[torch.Tensor](), 0
        data = sample_examples(learner.stage.train, self.examples, learner.generator)
        for images, _ in data.batches(max(self.batch_size, 2)):
            for x in images.split(self.batch_size):
                p = learner.forward(learner.model, x).softmax(1).cpu()
                y = torch.multinomial(p, 1, generator=learner.generator).squeeze(1)
                learner.backward(model, x, y.to(x.device))
                gradient = [*take_gradient(model).values()]
                squares.append(len(x) ** 2 * inner_product(gradient, gradient))
                total += len(x)
        return {"squared_gradient": float(torch.stack(squares).sum()) / total}
