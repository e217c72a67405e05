"""Steps taken by Python, or recorded once and then replayed: a seam that the engine does not see through.

What is replayed reads and writes memory and nothing else. Every number that Python held while it was
recorded is frozen in it; so a learning rate is a tensor, and a method says whether its hooks allow it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from plastibench.errors import explain, is_out_of_memory

Work = Callable[[Tensor, Tensor], int]
"""All that a step does on the device, for images (b, c, h, w) and labels (b,); returns its passes."""
Say = Callable[[str], None]


class GraphCapturer(ABC):
    """Records what is done on a device, and does it again on the same memory."""

    @abstractmethod
    def warm_up(self, work: Callable[[], None]) -> None:
        """Do the work once, unrecorded, where it will be recorded: it chooses kernels and makes its state."""

    @abstractmethod
    def capture(self, work: Callable[[], None]) -> Callable[[], None]:
        """Do the work once, and return what does it again.

        Raises RuntimeError for work that cannot be recorded, such as what makes the host wait.
        """


@dataclass(frozen=True)
class CapturedGraph:
    """A step that was recorded, and the memory from which it reads its batch."""

    x: Tensor
    y: Tensor
    passes: int
    replay: Callable[[], None]


class GraphedStep:
    """Takes steps: the first of each shape by Python, the second as it is recorded, all others replayed.

    An odd last batch has a recording of its own. It is valid while the learner has the same weights,
    optimizer and modes in the same memory: within a stage.
    """

    def __init__(self, recorder: GraphCapturer, say: Say) -> None:
        self._recorder = recorder
        self._say = say
        self._known: dict[torch.Size, CapturedGraph | None] = {}
        self._given_up = False

    def take(self, work: Work, x: Tensor, y: Tensor) -> int:
        """Take one step; return its passes. `work` is the same at every call.

        It is not kept: it belongs to an engine that keeps this, and a graph's memory is to go with them.
        """
        if self._given_up:
            return work(x, y)
        if x.shape not in self._known:
            self._known[x.shape] = None
            return self._ahead(work, x, y)
        known = self._known[x.shape]
        if known is None:
            return self._record(work, x, y)
        known.x.copy_(x)
        known.y.copy_(y)
        known.replay()
        return known.passes

    def _ahead(self, work: Work, x: Tensor, y: Tensor) -> int:
        passes: list[int] = []
        self._recorder.warm_up(lambda: passes.append(work(x, y)))
        return passes[0]

    def _record(self, work: Work, x: Tensor, y: Tensor) -> int:
        still_x, still_y, passes = x.clone(), y.clone(), list[int]()
        try:
            replay = self._recorder.capture(lambda: passes.append(work(still_x, still_y)))
        except Exception as error:
            if is_out_of_memory(error):
                raise
            # A plug-in's model may do what no recording can hold. A capture computes nothing, so the step is
            # still to take.
            self._given_up = True
            self._say(f"its steps cannot be recorded and replayed, each is taken anew: {explain(error)}")
            return work(x, y)
        self._known[x.shape] = CapturedGraph(still_x, still_y, passes[0], replay)
        return passes[0]
