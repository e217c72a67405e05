"""One model on all ranks: each has the same weights, or the run ends with an error that names the cause."""

import torch
from torch import Tensor

from plastibench.errors import RequestError
from plastibench.training.learner import Learner

TOLERANCE = 1e-3
"""Largest difference of weights between ranks, as a fraction of the largest, that rounding explains."""


def share_model(learner: Learner) -> None:
    """Give all ranks the weights and buffers of the first one: devices may round differently."""
    if learner.ranks.size > 1:
        learner.ranks.copy_first_([*learner.model.parameters(), *learner.model.buffers()])


def check_shared(learner: Learner, name: str) -> None:
    """Raise RequestError if the ranks no longer have the same model, which only a hook of a method can cause.

    `name` is the method's. Differences by rounding are removed: the first rank's model stands.
    """
    if learner.ranks.size == 1:
        return
    weights = [weight.detach() for weight in learner.model.parameters()]
    before, draws = [weight.clone() for weight in weights], learner.generator.get_state()
    first = draws.clone()
    share_model(learner)
    learner.ranks.copy_first_([first])
    pairs = zip(before, weights, strict=True)
    differs = torch.tensor([float(not torch.equal(draws, first) or any(_differ(*pair) for pair in pairs))])
    learner.ranks.sum_([differs])
    if differs.item():
        raise RequestError(
            f"{name} has changed the model differently on each device: what its hooks do must not depend on "
            "learner.batch or logits outside of the loss, which are a part of the batch; use one device"
        )


def _differ(weight: Tensor, first: Tensor) -> bool:
    scale = float(first.abs().max()) if first.numel() else 0.0
    return not torch.allclose(weight, first, rtol=0.0, atol=TOLERANCE * scale, equal_nan=True)
