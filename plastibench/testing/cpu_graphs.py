"""Graph capture without a GPU: a tape of torch's operations, replayed on the same memory.

Like a CUDA graph it knows nothing of Python: a number that is read during the capture is frozen. It refuses
what a capture refuses: reading a result on the host, and drawing from a generator that is passed in. It
cannot show kernels that differ inside a capture, nor hooks that compute on the CPU beside the device.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from plastibench.devices import Cpu
from plastibench.devices.graph_capture import GraphCapturer

SYNCHRONIZING = (torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape)


@dataclass
class CpuGraphs(GraphCapturer):
    """Captures on the CPU."""

    num_captured: int = 0
    num_replayed: int = 0
    failures: list[str] = field(default_factory=list)
    """Why captures failed."""

    def warm_up(self, work: Callable[[], None]) -> None:
        """Run the work."""
        work()

    def capture(self, work: Callable[[], None]) -> Callable[[], None]:
        """Run the work and record every operation."""
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
    """Records each operation with its operands; a replay writes its results to the same memory."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._operations: list[tuple[Any, Any, Any, list[tuple[int, Tensor]]]] = []

    # torch passes whatever an operation takes.
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        kwargs = kwargs or {}
        operands = tree_leaves((args, kwargs))
        if any(tag in func.tags for tag in SYNCHRONIZING):
            raise RuntimeError(f"{func} makes the host wait for the device")
        if any(isinstance(item, torch.Generator) for item in operands):
            raise RuntimeError(f"{func} draws from a generator on the host")
        out = func(*args, **kwargs)
        inputs = {_memory(item) for item in operands if isinstance(item, Tensor)}
        results = [
            (index, item)
            for index, item in enumerate(tree_leaves(out))
            if isinstance(item, Tensor) and _memory(item) not in inputs
        ]
        # A view computes nothing: it lies in memory that the tape fills.
        if results or not func.is_view:
            self._operations.append((func, args, kwargs, results))
        return out

    def replay(self) -> None:
        """Run all operations again, below autograd as they were recorded."""
        with torch._C._AutoDispatchBelowAutograd():
            for func, args, kwargs, results in self._operations:
                out = tree_leaves(func(*args, **kwargs))
                for index, memory in results:
                    memory.copy_(out[index])


def _memory(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


class FusedCpu(Cpu):
    """The CPU with fused optimizers that read their learning rate from memory, as capture requires."""

    def make_lr(self, lr: float) -> float | Tensor:
        """Return a tensor."""
        return torch.tensor(lr)


class CapturingCpu(FusedCpu):
    """The same device, with captured steps."""

    def __init__(self) -> None:
        super().__init__()
        self.capturer = CpuGraphs()

    def graph_capturer(self) -> GraphCapturer | None:
        """Return the capturer of this device."""
        return self.capturer
