"""Atomic file writes, the space for them, and files that are nobody's data."""

import logging
import os
import platform
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

logger = logging.getLogger(__name__)

Content = str | bytes | memoryview | Callable[[BinaryIO], None]
"""What is written to a file, or what writes it."""


def process_name() -> str:
    """Return a name that no other process has that uses the same files, from whatever host."""
    return f"{platform.node()}-{os.getpid()}"


def write_atomic(path: Path, content: Content, *, backup: Path | None = None, sync: bool = True) -> None:
    """Write a file atomically: after a crash it has its old content or the new one, complete.

    The old file is moved to `backup`, if given; a crash in between leaves it there. Without `sync`, which
    takes milliseconds, the file may be lost if the power fails.
    """
    temporary = path.with_name(f".{path.name}.{process_name()}")
    try:
        with temporary.open("wb") as file:
            if callable(content):
                content(file)
            else:
                file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            if sync:
                os.fsync(file.fileno())
        if backup is not None:
            with suppress(FileNotFoundError):
                path.replace(backup)
        temporary.replace(path)
    except BaseException:  # also Ctrl-C: leave no partial file behind
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def set_aside(path: Path, reason: object) -> None:
    """Rename a damaged file, so that it can be looked at, and log where it is."""
    damaged = path.with_name(f"{path.name}.damaged")
    path.replace(damaged)
    logger.warning("%s is damaged (%s): it is now %s, and a new one is begun", path, reason, damaged.name)


LEFT_BEHIND = {
    *("lost+found", "__macosx", "__pycache__", "system volume information", "recycler", "found.000", "cvs"),
    *("network trash folder", "temporary items", "thevolumesettingsfolder"),
}


def is_left_behind(name: str) -> bool:
    """Return whether a file or folder was left by a system or an editor, and is nobody's data.

    Such names start with a dot (`.DS_Store`, `._x.jpg`, `.ipynb_checkpoints`), @, #, $ or ~, or are known.
    """
    return name.startswith((".", "@", "#", "$", "~")) or name.casefold() in LEFT_BEHIND


def fsync_directory(folder: Path) -> None:
    """Flush a directory's entries to disk, so that a power failure does not undo a rename in it."""
    with suppress(OSError):  # not every file system can, and Windows cannot
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def free_bytes(path: Path) -> int:
    """Return the free disk space at `path`, which need not exist yet."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free
