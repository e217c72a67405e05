"""What changes with a run's file: by it a file is known again without being read."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple


class FileStats(NamedTuple):
    """Of a file at one moment."""

    text: str
    """Size, times and inode: the time of the last change of the inode cannot be set back by `touch`."""
    changed: int
    """When the file changed last, nanoseconds since 1970."""


def stamps(home: Path, ids: Iterable[str] | None = None) -> dict[str, FileStats]:
    """Return those of all run files under a home folder, by id, or of `ids` in their order.

    What is not there is left out; what cannot be looked at has a stamp that nothing ever equals.
    """
    runs = sorted(_ids(home)) if ids is None else dict.fromkeys(ids)
    found = ((run, _stamp(f"{home}/runs/{run[:2]}/{run}/run.json")) for run in runs)
    return {run: stamp for run, stamp in found if stamp is not None}


def _ids(home: Path) -> Iterator[str]:
    """Yield the names of all run folders; by scandir, since there can be a hundred thousand."""
    for part in _names(f"{home}/runs"):
        if len(part) == 2:
            yield from _names(f"{home}/runs/{part}")


def _names(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _stamp(path: str) -> FileStats | None:
    try:
        seen = os.stat(path)  # noqa: PTH116 - a Path for each would take longer than the rest
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return FileStats(f"{error.strerror}", 1 << 62)
    text = f"{seen.st_size} {seen.st_mtime_ns} {seen.st_ctime_ns} {seen.st_ino}"
    return FileStats(text, max(seen.st_mtime_ns, seen.st_ctime_ns))
