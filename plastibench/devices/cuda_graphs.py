"""Graph capture on NVIDIA and AMD GPUs: CUDA graphs."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch

from plastibench.devices.graph_capture import GraphCapturer


class CudaGraphs(GraphCapturer):
    """Captures on a side stream, as torch's notes on CUDA graphs ask; replays on the current stream."""

    def __init__(self, device: torch.device) -> None:
        self.stream = _side_stream(device)

    def warm_up(self, work: Callable[[], None]) -> None:
        """Run the work on the side stream; the current stream waits for it."""
        current = torch.cuda.current_stream(self.stream.device)
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            work()
        current.wait_stream(self.stream)

    def capture(self, work: Callable[[], None]) -> Callable[[], None]:
        """Capture the work, which computes nothing, and replay it once."""
        graph, device = torch.cuda.CUDAGraph(), self.stream.device
        with torch.cuda.device(device):
            current = torch.cuda.current_stream(device)
            try:
                # Threads that decode and pin images keep running: only this one must do nothing unsafe.
                with torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local"):
                    work()
            finally:
                torch.cuda.set_stream(current)  # torch leaves the side stream current if a capture fails
        graph.replay()
        return graph.replay


@cache
def _side_stream(device: torch.device) -> torch.cuda.Stream:
    """Return one stream per device: cuBLAS keeps a workspace of 32 MiB for every stream it has seen."""
    return torch.cuda.Stream(device)
