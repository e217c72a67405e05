"""A run that was handed to Ray, seen from the driver."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from plastibench.errors import MEMORY_HINT, one_line
from plastibench.runner.events import RunFailed, RunLost, RunReleased
from plastibench.runner.remote_run import RemoteRun

LOSSES = {
    "WorkerCrashedError": f"its process was killed (by the system, if memory ran out: {MEMORY_HINT})",
    "OutOfMemoryError": f"Ray killed its process because memory ran out: {MEMORY_HINT}",
    "NodeDiedError": "the node is gone",
    "TaskCancelledError": "its task was canceled",
}


@dataclass(eq=False)
class RayTask:
    """A run on the cluster, seen from the driver."""

    run: RemoteRun
    stream: Any
    """Ray's generator of references to messages."""
    node: str = ""
    name: str = "a node"
    """The node's name for people."""
    started: float = field(default=float("inf"))
    """When it was first heard of."""

    def loss(self, error: Exception) -> RunReleased:
        """Return why a task ended without a result."""
        import ray

        cause = getattr(error, "cause", None) or error
        canceled = isinstance(error, ray.exceptions.TaskCancelledError)
        if isinstance(error, ray.exceptions.RayTaskError) and not canceled:
            return RunFailed(self.run.spec, one_line(f"{self.name}: {type(cause).__name__}: {cause}"))
        return self.lost("TaskCancelledError" if canceled else type(error).__name__)

    def lost(self, kind: str) -> RunLost:
        """Return that the run is lost, by the name of Ray's error."""
        return RunLost(self.run.spec, f"lost on {self.name}: {LOSSES.get(kind, kind)}")
