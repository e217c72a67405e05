"""Training steps captured once as a graph of device work and then replayed, on devices that can do so.

A replay reads and writes memory and nothing else: every Python number keeps the value that it had during the
capture. So the learning rate is a tensor, and a method declares whether its hooks can be captured.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

from plastibench.errors import explain, is_out_of_memory

Counts = TypeVar("Counts")
"""What the host counts of a step, the same for every step with the same batch shape."""
StepFunction = Callable[[Tensor, Tensor], Counts]
"""All device work of a step, for images (b, c, h, w) and labels (b,); returns what the host counts of it."""


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
class CapturedGraph(Generic[Counts]):
    """A captured step, and the memory that it reads its batch from."""

    x: Tensor
    y: Tensor
    counts: Counts
    replay: Callable[[], None]


class GraphedStep(Generic[Counts]):
    """Takes steps: the first of each batch shape eagerly, the second while capturing, all others by replay.

    Valid as long as the learner keeps its weights, optimizer and modes in the same memory: within a stage.
    """

    def __init__(self, capturer: GraphCapturer, on_log: Callable[[str], None] = lambda message: None) -> None:
        self._capturer = capturer
        self._on_log = on_log
        self._graphs: dict[torch.Size, CapturedGraph[Counts] | None] = {}

    def __call__(self, step: StepFunction[Counts], x: Tensor, y: Tensor) -> Counts:
        """Take one step and return its counts; `step` must be the same at every call.

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
        return graph.counts

    def _warm_up(self, step: StepFunction[Counts], x: Tensor, y: Tensor) -> Counts:
        counts: list[Counts] = []
        self._capturer.warm_up(lambda: counts.append(step(x, y)))
        return counts[0]

    def _capture(self, step: StepFunction[Counts], x: Tensor, y: Tensor) -> Counts:
        static_x, static_y, counts = x.clone(), y.clone(), list[Counts]()
        try:
            replay = self._capturer.capture(lambda: counts.append(step(static_x, static_y)))
        except Exception as error:
            memory_error = _find_memory_error(error)
            if memory_error is not None:
                raise memory_error from None
            reason = explain(error)
        else:
            self._graphs[x.shape] = CapturedGraph(static_x, static_y, counts[0], replay)
            return counts[0]
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
