"""Signs of life of workers, so that the trial of a process that died is tried again."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from plastibench.store.tuned_settings import FOLDER
from plastibench.system.locks import file_lock, is_locked

HEARTBEAT_SECONDS = 30.0
GRACE_SECONDS = 300.0
"""A worker of another host without a heartbeat for so long is dead; clocks may differ by less."""


@dataclass(frozen=True)
class TrialOwner:
    """The worker that runs a trial, as the trial's user attributes have it."""

    worker: str = ""
    host: str = ""
    home: str = ""
    pid: int = 0
    beat: float = 0.0
    """Time of the last heartbeat, in seconds since 1970."""

    def is_alive(self, home: Path) -> bool:
        """Return whether the worker runs: by its lock in the same home folder, else by its heartbeat."""
        lock = _lock_file(home, self.worker)
        is_fresh = time.time() - self.beat < GRACE_SECONDS
        if sys.platform == "win32":
            return is_fresh
        if lock.exists():
            return is_locked(lock)
        return is_fresh and (self.host, self.home) != (socket.gethostname(), str(home.resolve()))


@dataclass(frozen=True)
class TuningWorker:
    """A process that runs trials."""

    home: Path
    stream: str
    """Sets the proposals of hosts apart that ask at the same moment; workers of one host ask in turn."""
    name: str = field(default_factory=lambda: uuid.uuid4().hex)

    @classmethod
    @contextmanager
    def start(cls, home: Path, *, is_shared: bool = False) -> Iterator[TuningWorker]:
        """Hold a lock that vanishes with the process; `is_shared` tells hosts with one storage apart."""
        worker = cls(home, f"{socket.gethostname()}/0" if is_shared else "0")
        lock = _lock_file(home, worker.name)
        lock.parent.mkdir(parents=True, exist_ok=True)
        with file_lock(lock):
            try:
                yield worker
            finally:
                lock.unlink(missing_ok=True)

    def owner(self) -> dict[str, Any]:
        """Return the user attribute of a trial that this worker runs."""
        home = str(self.home.resolve())
        return asdict(TrialOwner(self.name, socket.gethostname(), home, os.getpid(), time.time()))

    @contextmanager
    def heartbeat(
        self, send: Callable[[Mapping[str, Any]], None], seconds: float = HEARTBEAT_SECONDS
    ) -> Iterator[None]:
        """Send a fresh owner every so many seconds, from a thread that has ended on exit."""
        stop = threading.Event()

        def beat() -> None:
            while not stop.wait(seconds):
                with suppress(Exception):  # the trial reports to the storage, too
                    send(self.owner())

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def _lock_file(home: Path, name: str) -> Path:
    return home / FOLDER / "workers" / f"{name}.lock"
