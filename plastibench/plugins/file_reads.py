"""Files that the code of plug-ins reads while it runs, with their digests.

A run's id covers the code of its plug-ins and its data's checksum what its task yields. A file that a method
or a model opens itself, such as weights or a table of factors, is in neither: it is noted here, and belongs
to the record. Python tells of each file that it opens (PEP 578).
"""

import hashlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TypeVar

from plastibench.errors import DataError
from plastibench.plugins.source import INSTALLED, SUFFIXES

T = TypeVar("T")

MAX_FILES = 100
"""A plug-in that reads more files reads data, which its task's checksum covers; they are not noted."""
WRITES = os.O_WRONLY | os.O_RDWR
_SYSTEM = ("/proc/", "/sys/")
"""Folders whose files are made when they are read; under /dev, what is a file is one of data (/dev/shm)."""

Digests = Mapping[str, str]
"""SHA-256, hexadecimal, of files by their paths."""

_read_by: dict[str, dict[str, str]] = {}
"""The digests of what each module of a plug-in has read, by the module's path."""
_versions: dict[str, tuple[int, int]] = {}
"""Size and time of each file when its digest was computed."""
_pauses: list[None] = []


def watch(modules: Iterable[Path]) -> None:
    """Note from now on which files the code of modules reads."""
    _install_hook()
    for module in modules:
        _read_by.setdefault(str(module), {})


def files_read(modules: Iterable[Path]) -> dict[str, str]:
    """Return the digests of the files that the code of modules has read in this process."""
    files: dict[str, str] = {}
    for module in modules:
        files |= _read_by.get(str(module), {})
    return files if len(files) <= MAX_FILES else {}


def unwatched(make_items: Callable[..., Iterable[T]], *arguments: object) -> Iterator[T]:
    """Yield the items that a function returns for its arguments; what is read to make them is not noted."""
    with _paused():
        iterator = iter(make_items(*arguments))
    while True:
        with _paused():
            try:
                item = next(iterator)
            except StopIteration:
                return
        yield item


@contextmanager
def _paused() -> Iterator[None]:
    _pauses.append(None)
    try:
        yield
    finally:
        _pauses.pop()


def check_unchanged(what: str, files: Digests) -> None:
    """Raise DataError if a file that is still there has another content than when it was read.

    `what` says who read it, such as "run 0123456789abcdef was made".
    """
    for path, digest in files.items():
        found = _digest(path) if Path(path).is_file() else digest
        if found != digest:
            raise DataError(
                f"{what} with {path} of SHA-256 {digest[:12]}, but that file is now {found[:12]}: restore "
                "it, or give another home folder (--home)"
            )


@cache
def _install_hook() -> None:
    sys.addaudithook(_on_event)


def _on_event(event: str, arguments: tuple[object, ...]) -> None:
    """Note a file that is opened for reading by the code of a plug-in."""
    if event != "open" or _pauses:
        return
    path, _, flags = arguments
    if not isinstance(path, str | bytes | os.PathLike) or (isinstance(flags, int) and flags & WRITES):
        return
    files = _reader()
    if files is None or len(files) > MAX_FILES:
        return
    name = os.path.abspath(os.fsdecode(path))  # noqa: PTH100 - a path of bytes, too
    if _is_code(name) or name.startswith(_SYSTEM) or not os.path.isfile(name):  # noqa: PTH113
        return
    with _paused(), suppress(OSError):  # computing a digest opens the file; the plug-in gets the error, too
        files[name] = _current_digest(name, files.get(name))


def _reader() -> dict[str, str] | None:
    """Return the notes on the plug-in whose code is opening a file, itself or through a library."""
    frame = sys._getframe(2)
    while frame is not None:
        files = _read_by.get(frame.f_code.co_filename)
        if files is not None:
            return files
        if str(frame.f_globals.get("__name__")).partition(".")[0] == "plastibench":
            return None
        frame = frame.f_back  # type: ignore[assignment]
    return None


def _is_code(name: str) -> bool:
    parts = Path(name).parts
    prefixes = (sys.prefix, sys.base_prefix)
    return (
        name.endswith((*SUFFIXES, ".pyc"))
        or any(folder in parts for folder in INSTALLED)
        or any(Path(name).is_relative_to(prefix) for prefix in prefixes)
    )


def _current_digest(name: str, known: str | None) -> str:
    """Return the digest of a file, which is computed again only if the file has changed."""
    stat = os.stat(name)  # noqa: PTH116
    version = (stat.st_size, stat.st_mtime_ns)
    if known is None or _versions.get(name) != version:
        known, _versions[name] = _digest(name), version
    return known


def _digest(path: str) -> str:
    with open(path, "rb") as file:  # noqa: PTH123
        return hashlib.file_digest(file, "sha256").hexdigest()
