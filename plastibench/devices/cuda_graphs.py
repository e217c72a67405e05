"""Recordings on NVIDIA and AMD GPUs: CUDA graphs."""

from __future__ import annotations

from collections.abc import Callable

import torch

from plastibench.devices.graph_capture import GraphCapturer


class CudaGraphs(GraphCapturer):
    """Records on a stream of its own, as torch's notes on CUDA graphs ask; replays on the current one."""

    def __init__(self, device: torch.device) -> None:
        self.stream = torch.cuda.Stream(device)

    def warm_up(self, work: Callable[[], None]) -> None:
        """Do the work on the stream that will record it; the current stream waits for it."""
        current = torch.cuda.current_stream(self.stream.device)
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            work()
        current.wait_stream(self.stream)

    def capture(self, work: Callable[[], None]) -> Callable[[], None]:
        """Capture the work, in which nothing is computed, and launch it once."""
        graph, device = torch.cuda.CUDAGraph(), self.stream.device
        with torch.cuda.device(device):
            current = torch.cuda.current_stream(device)
            try:
                # Threads that decode and pin images go on meanwhile: only this one must do nothing unsafe.
                with torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local"):
                    work()
            finally:
                torch.cuda.set_stream(current)  # torch leaves the other one where a capture fails
        graph.replay()
        return graph.replay
