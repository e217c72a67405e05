"""Muon: train hidden weight matrices with orthogonalized momentum, and the rest with Adam."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from plastibench.api import ImageTask, Method, Task, find_head, tune, weight_layers


@dataclass(kw_only=True)
class Muon(Method):
    """W <- W - lr * sqrt(max(1, rows / columns)) * U V^T, U S V^T = G + momentum * B (Jordan et al. 2024).

    B <- momentum * B + G; U V^T is what five of Newton and Schulz's iterations leave of it. Compared in FIRE
    (Han et al. 2026, arXiv 2602.08040), which trains the first stage with Adam; here all stages are Muon's. A
    convolution is a matrix (out, in * height * width) for the scale too, where FIRE's code takes the size of
    the kernel. The head, embeddings, norms and biases have Adam at a tenth of the rate, betas 0.9 and 0.95.

    Cost: 15 products of matrices a weight and step, 5 to 10 % of the time of ResNet-18 at batches of 128; one
    copy of the weights, two of those that Adam has.
    """

    learning_rate: float = tune(0.01, 1e-3, 1e-1, log=True, within=(0.0, None))
    """Of the matrices; the recipe's schedule and warm-up multiply it."""
    momentum: float = tune(0.95, 0.8, 0.99, within=(0.0, 1.0))
    """Decay of the average of gradients that is orthogonalized."""
    weight_decay: float = tune(0.0, 0.0, 0.1, within=(0.0, None))
    """Decoupled, as in AdamW."""

    def recipe_changes(self) -> Mapping[str, Any]:
        """Return the optimizer and its settings."""
        settings = {"learning_rate": self.learning_rate, "momentum": self.momentum}
        return {"optimizer": "muon", **settings, "weight_decay": self.weight_decay}

    def unsupported(self, task: Task) -> str | None:
        """Return the reason if the model has no weight but the head's.

        Raises RequestError if it is not known which layer is the head.
        """
        model, head = task.model(), task.architecture.head
        if head is None and isinstance(task, ImageTask):
            head = find_head(model, task.input_shape())
        one = len(weight_layers(model, head=head)) == 1
        return "the model has no hidden weight matrix: all of it is the head" if one else None
