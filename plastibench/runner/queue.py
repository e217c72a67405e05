"""The queue of runs to execute."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from time import monotonic

from plastibench.experiments.spec import Spec

RETRY_SECONDS = 2.0
"""How long until a run that another process executes is tried again."""


class RunQueue:
    """Runs to execute, in order; those that other processes execute are tried again later."""

    def __init__(self, specs: Iterable[Spec], retry_seconds: float = RETRY_SECONDS) -> None:
        self.retry_seconds = retry_seconds
        self._waiting = deque((spec, 0.0) for spec in specs)

    def __len__(self) -> int:
        """Return the number of waiting runs."""
        return len(self._waiting)

    def pop(self) -> Spec | None:
        """Remove and return the first run that is due, or None if none is."""
        now = monotonic()
        for position, (spec, due) in enumerate(self._waiting):
            if due <= now:
                del self._waiting[position]
                return spec
        return None

    def retry_later(self, spec: Spec) -> None:
        """Put back a run that another process executes."""
        self._waiting.append((spec, monotonic() + self.retry_seconds))
