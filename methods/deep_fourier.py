"""Deep Fourier features: the sine and the cosine of each unit, of which one always has a gradient."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from plastibench.api import WideActivation


class FourierFeatures(nn.Module):
    """Twice as many channels: the sines, then the cosines."""

    expansion = 2

    def forward(self, z: Tensor) -> Tensor:
        """Map (b, channels, ...) to (b, 2 * channels, ...)."""
        return torch.cat([z.sin(), z.cos()], 1)


@dataclass(kw_only=True)
class DeepFourier(WideActivation):
    """h = [sin(z), cos(z)] in every layer (Lewandowski et al. 2025, arXiv 2410.20634).

    The paper halves the width, so that activations are as many as before; the default keeps the weights of a
    layer. The paper adds a penalty on the weights and trains at smaller rates than ReLU. A max-pool after an
    activation, which `resnet18` and `vgg16_bn` have, does not suit it.

    Cost: at the default width 0.8 to 1.03 times the FLOPs, depending on the model, and 1.4 times as many
    features; with a sine and a cosine for each unit, a training step of `small_resnet` on a CPU takes 1.6
    times as long. At equal width up to 2.1 times the FLOPs.
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "cold": {"restart": True},
        "lewandowski_2025": {"width": 0.5},
    }

    def factories(self) -> Mapping[str, Callable[..., nn.Module]]:
        """Return the activation."""
        return {"activation": FourierFeatures}
