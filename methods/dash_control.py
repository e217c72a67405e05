"""DASH controls: shrink as DASH does, but without what is said to matter, one thing at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from plastibench.methods.dash import Dash
from torch import Tensor

from plastibench.api import Learner


@dataclass(kw_only=True)
class DashControl(Dash):  # type: ignore[misc]  # type checkers do not find methods in a checkout
    """DASH (Shin et al. 2024, arXiv 2410.23495, algorithm 1) with one part replaced.

    control=permuted gives the vectors of each parameter its factors in random order, uniform gives them all
    the mean factor of the parameter: if one is as good as `dash`, then the direction of a vector does not
    matter, or not even the spread of the factors. newest_chunk takes the gradient on the newest chunk alone,
    mean_gradient that of the mean loss over all data: if one is as good, then the average over chunks does
    not matter. With these two, `momentum` changes nothing unless it is 0.

    Cost: as DASH, one pass over the data a stage; newest_chunk one pass over the newest chunk.
    """

    control: Literal["permuted", "uniform", "newest_chunk", "mean_gradient"] = "permuted"

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    def before_stage(self, learner: Learner) -> None:
        """Shrink the weights as DASH does, by other factors or those of another gradient."""
        for weight, gradient in self._average_gradients(learner).items():
            factors = self.factors(weight, gradient)
            if self.control == "permuted":
                order = torch.randperm(factors.numel(), generator=learner.generator)
                factors = factors.flatten()[order.to(factors.device)].reshape(factors.shape)
            elif self.control == "uniform":
                factors = factors.mean()
            weight.mul_(factors)

    def _chunks(self, learner: Learner) -> Iterator[Iterator[tuple[Tensor, Tensor, float]]]:
        """Yield the newest chunk, or all chunks as one."""
        chunks = super()._chunks(learner)
        if self.control == "newest_chunk":
            *_, newest = chunks
            yield newest
        elif self.control == "mean_gradient":
            total = sum(learner.stage.chunks)
            yield ((x, y, len(y) / total) for chunk in chunks for x, y, _ in chunk)
        else:
            yield from chunks
