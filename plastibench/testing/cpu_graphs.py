"""A CUDA graph without a GPU: a tape of torch's operations, played again on the same memory.

Like a graph it knows nothing of Python: a number read while it recorded is frozen in it. It refuses what a
capture refuses: reading a result on the host, and drawing from a generator that is handed over. What it
cannot show: kernels that differ inside a capture, and hooks that compute on the CPU beside the device.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from plastibench.devices import Cpu
from plastibench.devices.graph_capture import GraphCapturer

WAITS = (torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape)


@dataclass
class CpuGraphs(GraphCapturer):
    """Records on the CPU."""

    num_captured: int = 0
    num_replayed: int = 0
    failures: list[str] = field(default_factory=list)
    """Why work could not be recorded."""

    def warm_up(self, work: Callable[[], None]) -> None:
        """Do the work; there is nothing to make ready."""
        work()

    def capture(self, work: Callable[[], None]) -> Callable[[], None]:
        """Do the work and write down every operation."""
        tape = _Tape()
        try:
            with tape:
                work()
        except RuntimeError as error:
            self.failures.append(str(error))
            raise
        self.num_captured += 1

        def replay() -> None:
            self.num_replayed += 1
            tape.replay()

        return replay


class _Tape(TorchDispatchMode):
    """Writes down each operation with its operands, and copies its results to where they were."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._played: list[tuple[Any, Any, Any, list[tuple[int, Tensor]]]] = []

    # torch calls it with whatever an operation takes.
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        kwargs = kwargs or {}
        operands = tree_leaves((args, kwargs))
        if any(tag in func.tags for tag in WAITS):
            raise RuntimeError(f"{func} makes the host wait for the device")
        if any(isinstance(item, torch.Generator) for item in operands):
            raise RuntimeError(f"{func} draws from a generator on the host")
        out = func(*args, **kwargs)
        given = {_memory(item) for item in operands if isinstance(item, Tensor)}
        made = [
            (place, item)
            for place, item in enumerate(tree_leaves(out))
            if isinstance(item, Tensor) and _memory(item) not in given
        ]
        # A view computes nothing: it lies in memory that the tape fills.
        if made or not func.is_view:
            self._played.append((func, args, kwargs, made))
        return out

    @torch.no_grad()
    def replay(self) -> None:
        """Do everything again."""
        for func, args, kwargs, made in self._played:
            found = tree_leaves(func(*args, **kwargs))
            for place, memory in made:
                memory.copy_(found[place])


def _memory(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


class FusedCpu(Cpu):
    """The CPU with what recording asks of a device: fused optimizers that read their rate from memory."""

    def make_lr(self, rate: float) -> float | Tensor:
        """Return a tensor."""
        return torch.tensor(rate)


class CapturingCpu(FusedCpu):
    """The same device, recording."""

    def __init__(self, index: int | None = None) -> None:
        super().__init__(index)
        self.capturer = CpuGraphs()

    def graph_capturer(self) -> GraphCapturer | None:
        """Return the tapes."""
        return self.capturer
