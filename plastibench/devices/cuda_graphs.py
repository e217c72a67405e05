"""Graph capture on CUDA devices."""

import weakref
from collections.abc import Callable
from contextlib import suppress
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
        # Not by torch.cuda.graph: it waits for the device and empties the allocator's cache each time.
        graph, device = torch.cuda.CUDAGraph(), self.stream.device
        self.stream.wait_stream(torch.cuda.current_stream(device))
        pool = _take_pool(device)
        with torch.cuda.device(device), torch.cuda.stream(self.stream):
            # Threads that decode and pin images keep running: only this one must do nothing unsafe.
            graph.capture_begin(pool=pool.pool(), capture_error_mode="thread_local")
            try:
                work()
            except BaseException:
                _end_failed_capture(graph, device)
                raise
            graph.capture_end()
        weakref.finalize(graph, _idle_pools(device).append, pool).atexit = False
        graph.replay()
        return graph.replay


@cache
def _side_stream(device: torch.device) -> torch.cuda.Stream:
    """Return one stream per device: cuBLAS keeps a workspace of 32 MiB for every stream it has seen."""
    return torch.cuda.Stream(device)


def release_idle_pools(device: torch.device) -> None:
    """Let the allocator have the memory of graphs that no longer exist."""
    _idle_pools(_side_stream(device).device).clear()


@cache
def _idle_pools(device: torch.device) -> list[torch.cuda.CUDAGraph]:
    """Return the memory pools of graphs that no longer exist, each kept by an empty graph.

    Two graphs that exist at the same time never share one: a replay writes to all of its pool.
    """
    return []


def _take_pool(device: torch.device) -> torch.cuda.CUDAGraph:
    """Return a pool that no graph uses; a new one costs allocations, which make the host wait."""
    idle = _idle_pools(device)
    return idle.pop() if idle else _captured_nothing(device)


def _captured_nothing(device: torch.device) -> torch.cuda.CUDAGraph:
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.device(device), torch.cuda.stream(_side_stream(device)):
        graph.capture_begin(capture_error_mode="thread_local")
        torch.zeros(1, device=device)
        graph.capture_end()
    return graph


def _end_failed_capture(graph: torch.cuda.CUDAGraph, device: torch.device) -> None:
    """End a capture whose work has raised; torch leaves random generators as if it went on."""
    with suppress(RuntimeError):  # an invalid capture cannot be ended either, which would hide the reason
        graph.capture_end()
    _captured_nothing(device)
