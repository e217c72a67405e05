"""What somebody has who uses a remedy without the harness."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from plastibench.standalone.fresh_models import FreshModels, Weights
from plastibench.standalone.own_task import HiddenUnitNames

Loss = Callable[[Any, Any], Tensor]
"""Returns the mean loss of a batch, given what the model returns and the targets."""


@dataclass(frozen=True, kw_only=True)
class Own:
    """What somebody has who acts without the harness."""

    model: nn.Module
    optimizer: Optimizer | None
    loss: Loss | None
    fresh: FreshModels
    initial: Weights | None
    """The weights at the start of training."""
    seed: int
    head_name: str | None = None
    without_head: str = "give head_name, or batches"
    """What to do if a method asks for the head and it cannot be found."""
    without_data: str = "give batches, an iterable of (inputs, targets) in order of arrival"
    hidden_units: HiddenUnitNames | None = None


def logits_of(output: Any) -> Tensor:  # noqa: ANN401 - what a model returns
    """Return the logits of a model that returns them, alone or as `logits` among other values."""
    return getattr(output, "logits", output)  # type: ignore[no-any-return]
