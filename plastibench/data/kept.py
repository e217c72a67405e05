"""The data set that this process decoded last, kept for the run that follows.

Runs of a grid follow one another on the same files. To read, verify and decode them again would take seconds
of each. What is kept is one data set, as long as its files are unchanged and nobody has written to its
tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from pathlib import Path

from plastibench.data.images import LabeledImages

Parts = tuple[LabeledImages, LabeledImages]
"""Training and test images."""
Stamp = tuple[str, int, int, int, int]
"""What changes when a file is written or replaced: its path, inode, size, and both of its times."""


@dataclass(frozen=True)
class _Kept:
    key: Hashable
    parts: Parts
    versions: tuple[int, ...]


_last: list[_Kept] = []


def kept(name: Hashable, files: Iterable[Path], decode: Callable[[], Parts]) -> Parts:
    """Return what `decode` returned for this name if that was the last call and the files are unchanged.

    Otherwise the data set that was kept is dropped, and what is decoded now takes its place. `files` are all
    those that `decode` may read, whether they exist or not.
    """
    paths = list(files)
    key = (name, stamps(paths))
    if _last and _last[0].key == key and _last[0].versions == _versions(_last[0].parts):
        return _last[0].parts
    _last.clear()  # first: there may be no memory for two
    parts = decode()
    if (name, stamps(paths)) == key:  # else files have been written meanwhile, perhaps by a download
        _last.append(_Kept(key, parts, _versions(parts)))
    return parts


def stamps(paths: Iterable[Path]) -> tuple[Stamp, ...]:
    """Return the stamp of each file that exists."""
    return tuple(stamp for path in paths if (stamp := _stamp(path)) is not None)


def _stamp(path: Path) -> Stamp | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return str(path.absolute()), stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def _versions(parts: Parts) -> tuple[int, ...]:
    """Return torch's counters of writes to the tensors, which views of them share."""
    return tuple(tensor._version for part in parts for tensor in (part.x, part.y))
