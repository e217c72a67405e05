"""The examples next of which the model is least certain: active learning."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

from plastibench.errors import RequestError
from plastibench.plugins.regime import Overlay, Regime
from plastibench.plugins.regimes.accumulate import Accumulate


@dataclass(frozen=True, kw_only=True)
class Uncertainty(Overlay):
    """Let those examples arrive next of which the model is least certain (Ash et al. 2020, arXiv 1906.03671).

    Published as the baselines Marg, Conf and Entropy of active learning, in rounds of 100, 1,000 or 10,000
    labels after 100 random ones, with a fresh network in each. The sizes of the chunks are those of the base,
    and the first chunk is random. The model is the one whose accuracy counts, in evaluation mode; its passes
    over the examples to come count as evaluation. From the second stage on each method has data of its own.
    """

    base: Regime = field(default=Accumulate())
    measure: Literal["margin", "confidence", "entropy"] = "margin"
    """Gap between the two largest probabilities, the largest probability, or the entropy of all."""

    def __post_init__(self) -> None:
        """Raise RequestError for a base with which all data arrive at once."""
        super().__post_init__()
        if not any(self.base.chunk_sizes(1_000_000, 2)[1:]):
            name = type(self.base).__name__
            raise RequestError(f"with regime {name} all data arrive at once: there are none to choose from")

    def rank(self, logits: Tensor) -> Tensor:
        """Return the examples in order of growing certainty; those of equal certainty keep their order."""
        logs = logits.double().log_softmax(1)
        if self.measure == "entropy":
            certainty = (logs.exp() * logs).sum(1)
        elif self.measure == "confidence":
            certainty = logs.max(1).values
        else:
            largest = logs.exp().topk(2, dim=1).values
            certainty = largest[:, 0] - largest[:, 1]
        return certainty.argsort(stable=True)
