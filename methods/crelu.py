"""Concatenated ReLU: pass on the positive and the negative part, so that no unit can die."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from plastibench.api import WideActivation


class ConcatenatedReLU(nn.Module):
    """Twice as many channels: the positive parts, then the negative ones."""

    expansion = 2

    def forward(self, z: Tensor) -> Tensor:
        """Map (b, channels, ...) to (b, 2 * channels, ...)."""
        return torch.cat([z.relu(), (-z).relu()], 1)


@dataclass(kw_only=True)
class CReLU(WideActivation):
    """h = [max(z, 0), max(-z, 0)] (Shang et al. 2016, arXiv 1603.05201, section 2.1).

    Abbas et al. 2023 (arXiv 2303.07507) use it against loss of plasticity. Each activation gives twice as
    many channels, so at equal width each weight matrix would have twice as many inputs. The default width
    keeps the weights of a layer to rounding; first and last layers and shortcuts get other numbers, and those
    of the whole model are in the note under the table.

    Cost: at the default width 0.8 to 1.03 times the FLOPs, depending on the model, and 1.4 times as many
    features; a training step of `small_resnet` on a CPU takes 1.5 times as long. At equal width up to 2.1
    times the FLOPs. No state.
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "cold": {"restart": True},
        "shang_2016": {"width": None},
    }

    def factories(self) -> Mapping[str, Callable[..., nn.Module]]:
        """Return the activation."""
        return {"activation": ConcatenatedReLU}
