"""Files that are there whole or not at all, and the space for them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def write(path: Path, text: str) -> None:
    """Write a text so that it is there whole or not at all, also after a crash."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all, also after a crash."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:  # also Ctrl-C: nothing half-written stays
        temporary.unlink(missing_ok=True)
        raise


def free_bytes(path: Path) -> int:
    """Return the free space where `path` is or would be made."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free
