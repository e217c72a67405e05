"""One process at a time: a lock that is held on a file and vanishes with its process."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def file_lock(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold the lock on the file at `path`, created where missing; wait for it, or raise BlockingIOError.

    The holder may move or remove the file. On Windows, where an open file cannot be moved, nothing
    is locked: work there with one process.
    """
    if sys.platform == "win32":
        path.touch()
        yield
        return
    import fcntl

    while True:
        with path.open("ab") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not path.exists() or not os.path.samestat(os.fstat(stream.fileno()), path.stat()):
                # The process that held the lock moved or removed the file: what is locked is not there.
                continue
            yield
            return


def is_locked(path: Path) -> bool:
    """Return whether a process holds the lock on the file at `path`; a file that nobody holds is removed."""
    if not path.exists():
        return False
    try:
        with file_lock(path, wait=False):
            path.unlink(missing_ok=True)
            return False
    except BlockingIOError:
        return True
    except OSError:  # a folder that can only be read
        return False
