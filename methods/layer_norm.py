"""Layer normalization: normalize each example by itself instead of over the batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import gcd
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from plastibench.api import LayerSwap, setting


class ChannelNorm(nn.LayerNorm):
    """Normalization over dimension 1 at each pixel."""

    def forward(self, input: Tensor) -> Tensor:
        """Map (b, channels, ...) to the same shape."""
        return super().forward(input.movedim(1, -1)).movedim(-1, 1)


@dataclass(kw_only=True)
class LayerNorm(LayerSwap):
    """y = (x - mean(x)) / std(x) * w + b over one example (Ba et al. 2016, arXiv 1607.06450, equation 4).

    Every norm of the model is exchanged, those of shortcuts too. `example` takes mean and variance over all
    channels and pixels; `channels` over the channels of each pixel; `groups` over groups of channels and all
    pixels (Wu & He 2018, arXiv 1803.08494, equation 7). Without running statistics nothing lags behind the
    weights after a remedy has changed them. Lyle et al. 2023 (arXiv 2303.01486) find it the strongest single
    measure for trainability; it goes well with weight decay.

    Cost: as batch normalization; as many weights.
    """

    over: Literal["example", "channels", "groups"] = "example"
    """All values of an example, its channels at each position, or groups of channels."""
    groups: int = setting(32, within=(1, None), only=("over", "groups"))
    """Largest number of groups; fewer if they do not divide the channels."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "cold": {"restart": True},
        "wu_he_2018": {"over": "groups"},
    }

    def factories(self) -> Mapping[str, Callable[..., nn.Module]]:
        """Return the norm."""
        return {"norm": self._norm}

    def _norm(self, channels: int) -> nn.Module:
        if self.over == "channels":
            return ChannelNorm(channels)
        groups = gcd(self.groups, channels) if self.over == "groups" else 1
        return nn.GroupNorm(groups, channels)
