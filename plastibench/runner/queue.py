"""TODO."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from time import monotonic

from plastibench.experiments.spec import Spec
from plastibench.runner.callbacks import RunCallback

RETRY_SECONDS = 2.0
"""How long until a run that another process was at is looked at again."""


class Queue:
    """Runs to carry out, in order; one that another process is at comes again later."""

    def __init__(self, specs: Iterable[Spec]) -> None:
        self._waiting = deque((spec, 0.0) for spec in specs)
        self._told: set[str] = set()

    def __len__(self) -> int:
        """Return how many are left."""
        return len(self._waiting)

    def next(self) -> Spec | None:
        """Take the first whose time has come, or None where all are to be waited for."""
        for place, (spec, when) in enumerate(self._waiting):
            if when <= monotonic():
                del self._waiting[place]
                return spec
        return None

    def later(self, spec: Spec, watcher: RunCallback, holder: str) -> None:
        """Put a run back that is elsewhere; the watcher is told once."""
        self._waiting.append((spec, monotonic() + RETRY_SECONDS))
        if spec.id not in self._told:
            self._told.add(spec.id)
            watcher.on_log(spec, f"{holder} is at it: its result is waited for")
