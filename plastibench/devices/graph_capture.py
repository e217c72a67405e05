"""Training steps captured once as a graph of device work and then replayed, on devices that can do so.

A replay reads and writes memory and nothing else: every Python number keeps the value that it had during the
capture. So the learning rate is a tensor, and a method declares whether its hooks can be captured.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from plastibench.errors import explain, is_out_of_memory

StepFunction = Callable[[Tensor, Tensor], int]
"""All device work of a step, for images (b, c, h, w) and labels (b,); returns the number of passes."""


class GraphCapturer(ABC):
    """Captures device work and replays it on the same memory."""

    failed = False
    """Whether a capture failed: the rest of the run then takes its steps eagerly."""

    @abstractmethod
    def warm_up(self, work: Callable[[], None]) -> None:
        """Run the work eagerly where it will be captured: it chooses kernels and creates its state."""

    @abstractmethod
    def capture(self, work: Callable[[], None]) -> Callable[[], None]:
        """Run the work once, and return a function that replays it.

        Raises RuntimeError if the work cannot be captured, for example because it makes the host wait.
        """


@dataclass(frozen=True)
class CapturedGraph:
    """A captured step, and the memory that it reads its batch from."""

    x: Tensor
    y: Tensor
    num_passes: int
    replay: Callable[[], None]


class GraphedStep:
    """Takes steps: the first of each batch shape eagerly, the second while capturing, all others by replay.

    Valid as long as the learner keeps its weights, optimizer and modes in the same memory: within a stage.
    """

    def __init__(self, capturer: GraphCapturer, on_log: Callable[[str], None]) -> None:
        self._capturer = capturer
        self._on_log = on_log
        self._graphs: dict[torch.Size, CapturedGraph | None] = {}

    def __call__(self, step: StepFunction, x: Tensor, y: Tensor) -> int:
        """Take one step and return its number of passes; `step` must be the same at every call.

        No reference to `step` is kept: a reference cycle would let the graphs' memory outlive the stage.
        """
        if self._capturer.failed:
            return step(x, y)
        if x.shape not in self._graphs:
            self._graphs[x.shape] = None
            return self._warm_up(step, x, y)
        graph = self._graphs[x.shape]
        if graph is None:
            return self._capture(step, x, y)
        graph.x.copy_(x)
        graph.y.copy_(y)
        graph.replay()
        return graph.num_passes

    def _warm_up(self, step: StepFunction, x: Tensor, y: Tensor) -> int:
        passes: list[int] = []
        self._capturer.warm_up(lambda: passes.append(step(x, y)))
        return passes[0]

    def _capture(self, step: StepFunction, x: Tensor, y: Tensor) -> int:
        static_x, static_y, passes = x.clone(), y.clone(), list[int]()
        try:
            replay = self._capturer.capture(lambda: passes.append(step(static_x, static_y)))
        except Exception as error:
            memory_error = _find_memory_error(error)
            if memory_error is not None:
                raise memory_error from None
            reason = explain(error)
        else:
            self._graphs[x.shape] = CapturedGraph(static_x, static_y, passes[0], replay)
            return passes[0]
        # A plug-in may do what no graph can hold. A failed capture has computed nothing, so the step is taken
        # now, and outside the `except` block, whose traceback would keep the failed graph's memory alive.
        self._capturer.failed = True
        self._on_log(f"steps cannot be captured, so each one is run eagerly: {reason}")
        return step(x, y)


def _find_memory_error(error: BaseException | None) -> BaseException | None:
    """Return the out-of-memory error in a chain: ending a failed capture raises an error that hides it."""
    while error is not None and not is_out_of_memory(error):
        error = error.__context__
    return error
