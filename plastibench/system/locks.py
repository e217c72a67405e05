"""Locks between processes, held on a file and released by the system when the holder ends."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

DATABASE_LOCK_SECONDS = 60.0
"""Longest wait for another process that has locked a database, MLflow's or Optuna's."""


@contextmanager
def file_lock(path: Path, *, wait: bool | float = True, remove: bool = False) -> Iterator[None]:
    """Hold an exclusive lock on the file at `path`, created if missing; `remove` deletes it afterwards.

    `wait` may be a number of seconds. Raises BlockingIOError if another holder has the lock all the time. The
    lock belongs to the open file, so neither a clock nor a stale file plays a part.
    """
    from filelock import FileLock, Timeout

    # Without flock, filelock would fall back to files that outlive a process that was killed.
    lock = FileLock(path, thread_local=False, fallback_to_soft=False)
    try:
        lock.acquire(timeout=-1 if wait is True else float(wait))
    except Timeout as error:
        raise BlockingIOError(f"{path} is locked by another process") from error
    try:
        yield
    finally:
        if remove:
            with suppress(OSError):  # Windows: a file that is open cannot be removed, filelock removes it
                path.unlink()
        lock.release()


def is_locked(path: Path) -> bool:
    """Return whether a process holds the lock on the file at `path`; remove the file if none does."""
    if not path.exists():
        return False
    try:
        with file_lock(path, wait=False, remove=True):
            return False
    except BlockingIOError:
        return True
    except OSError:  # a read-only folder
        return False
