"""NVIDIA cards on which one part of what makes steps fast is left out or added."""

from __future__ import annotations

from typing import ClassVar

from plastibench.devices import Cuda
from plastibench.devices.graph_capture import GraphCapturer


class EagerCuda(Cuda):
    """A card whose steps are launched one by one."""

    def graph_capturer(self) -> GraphCapturer | None:
        return None


class CompilingCuda(Cuda):
    """A card whose passes are compiled."""

    compiles = True


class CastsOneByOne(Cuda):
    """A card on which autocast casts each weight by itself."""

    casts_together: ClassVar[bool] = False
