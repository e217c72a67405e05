"""Who is at work, so that no trial waits for a process that died."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from plastibench.system.locks import file_lock, is_locked

BEAT_SECONDS = 30.0
"""How often a worker says that it lives, for those on other hosts."""
GRACE_SECONDS = 300.0
"""A worker of another host that says nothing for so long is dead; clocks may differ by less."""


class TuningWorker:
    """A process at work: a lock on a file that vanishes with it, and a sign of life now and then."""

    def __init__(self, home: Path, position: int = 0, *, shared: bool = False) -> None:
        self.home = home
        self.stream = f"{socket.gethostname()}/{position}" if shared else str(position)
        """What sets the proposals of workers apart that ask at the same moment."""
        self.name = uuid.uuid4().hex

    def __enter__(self) -> Self:
        """Take the lock."""
        path = lock_file(self.home, self.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = file_lock(path)
        self._lock.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        """Give the lock back."""
        lock_file(self.home, self.name).unlink(missing_ok=True)
        self._lock.__exit__(None, None, None)

    def owner(self) -> dict[str, Any]:
        """Return what a trial says of who is at work on it."""
        place = {"host": socket.gethostname(), "home": str(self.home.resolve()), "pid": os.getpid()}
        return {"worker": self.name, **place, "beat": time.time()}

    def beating(self, tell: Callable[[dict[str, Any]], None]) -> HeartbeatThread:
        """Return a context in which `tell` is given a fresh owner from time to time."""
        return HeartbeatThread(self, tell)


class HeartbeatThread:
    """Says that a worker lives, from a thread of its own, while it is inside."""

    def __init__(self, worker: TuningWorker, tell: Callable[[dict[str, Any]], None]) -> None:
        self.worker = worker
        self.tell = tell
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Self:
        """Begin."""
        self.thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        """End; the storage is not written to when this returns."""
        self.stop.set()
        self.thread.join()

    def _beat(self) -> None:
        while not self.stop.wait(BEAT_SECONDS):
            self.tell(self.worker.owner())


def is_alive(owner: Mapping[str, Any], home: Path) -> bool:
    """Return whether the process that a trial names is still there.

    By its lock where it shares this home folder, at once and without doubt; by its last sign of
    life where it works elsewhere.
    """
    path = lock_file(home, str(owner["worker"]))
    if path.exists() and sys.platform != "win32":
        return is_locked(path)
    if (owner["host"], owner["home"]) == (socket.gethostname(), str(home.resolve())):
        return sys.platform == "win32" and _is_fresh(owner)
    return _is_fresh(owner)


def _is_fresh(owner: Mapping[str, Any]) -> bool:
    return time.time() - float(owner["beat"]) < GRACE_SECONDS


def lock_file(home: Path, name: str) -> Path:
    """Return the file that a worker holds."""
    return home / "tuned" / "workers" / f"{name}.lock"
