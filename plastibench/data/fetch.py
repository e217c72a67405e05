"""Files of published data sets: found on disk or downloaded, and never used unverified."""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from plastibench.data.transfer import TransferError, receive
from plastibench.errors import DataError
from plastibench.system.files import fsync_directory
from plastibench.system.locks import file_lock

MIRROR_VARIABLE = "PLASTIBENCH_MIRROR"
"""Environment variable with base URLs, tried before the published addresses: `<base>/<file name>`."""

_ALGORITHMS = ("md5", "sha256")


@dataclass(frozen=True)
class RemoteFile:
    """A published file and how to know that a copy of it is whole."""

    name: str
    """File name, without folders."""
    urls: tuple[str, ...]
    """Where to get it: the origin first, then mirrors."""
    digest: str
    """`md5:<hexadecimal>` or `sha256:<hexadecimal>` of the published file."""
    size: int | None = None
    """Bytes, where known."""
    accepted: tuple[str, ...] = ()
    """Digests of other copies that are as good, written as `digest` is."""

    def matches(self, path: Path) -> bool:
        """Return whether the file at `path` is this one, byte for byte."""
        return any(digest_of(path, known.split(":")[0]) == known for known in (self.digest, *self.accepted))


def digest_of(path: Path, algorithm: str = "sha256") -> str:
    """Return `<algorithm>:<hexadecimal>` of a file; the algorithm is md5 or sha256."""
    if algorithm not in _ALGORITHMS:
        raise ValueError(f"digest algorithm is {algorithm!r}; it must be one of {', '.join(_ALGORITHMS)}")
    with path.open("rb") as stream:
        # MD5 is what the publishers list: it guards against damage, and TLS against ill will.
        state = hashlib.file_digest(stream, lambda: hashlib.new(algorithm, usedforsecurity=False))
    return f"{algorithm}:{state.hexdigest()}"


def find(file: RemoteFile, folder: Path, places: Sequence[str] = ("",)) -> Path | None:
    """Return the verified copy below `folder`, or None; `places` are sub-folders, tried in order.

    Raises `DataError` for a copy that is truncated or altered.
    """
    for place in places:
        path = folder / place / file.name
        if not path.is_file():
            continue
        try:
            if file.matches(path):
                return path
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
        algorithm, expected = file.digest.split(":")
        raise DataError(
            f"{path} is truncated or altered: its {algorithm} is {digest_of(path, algorithm).split(':')[1]}, "
            f"not {expected}; remove it and it is downloaded again, or get it from {file.urls[0]}"
        )
    return None


def obtain(file: RemoteFile, folder: Path, places: Sequence[str] = ("",)) -> Path:
    """Return a verified copy of `file`, downloaded into `folder/places[0]` when there is none.

    Raises `DataError` when the copy found is not the published file, when no address gives it,
    or when the folder cannot take it.
    """
    found = find(file, folder, places)
    return found if found is not None else _download(file, folder / places[0])


def addresses(file: RemoteFile) -> tuple[str, ...]:
    """Return every address to try, in order: the user's mirrors, the origin, known mirrors."""
    bases = [base for base in re.split(r"[\s,]+", os.environ.get(MIRROR_VARIABLE, "")) if base]
    return (*(f"{base.rstrip('/')}/{file.name}" for base in bases), *file.urls)


def _download(file: RemoteFile, folder: Path) -> Path:
    """Download, verify and move into place; a partial download stays as `<name>.part`."""
    path, part = folder / file.name, folder / f"{file.name}.part"
    failures: list[str] = []
    with _explained(file, folder):
        folder.mkdir(parents=True, exist_ok=True)
        for url in addresses(file):
            try:
                if not _receive_verified(file, url, part, path):
                    failures.append(f"{url}: not the published file, by its checksum")
                    continue
            except TransferError as error:
                failures.append(f"{url}: {error}")
                if part.is_file() and not part.stat().st_size:
                    part.unlink()
                continue
            return path
    raise DataError(
        f"{file.name} is not in {folder} and could not be downloaded ({'; '.join(failures)}); "
        f"get it from {file.urls[0]} and put it there"
    )


def _receive_verified(file: RemoteFile, url: str, part: Path, path: Path) -> bool:
    """Return whether `url` gave the published file, which then lies at `path`."""
    with file_lock(path.with_name(f".{path.name}.lock"), remove=True):
        part.touch()
        if path.is_file() and file.matches(path):
            # Another process was first.
            part.unlink(missing_ok=True)
            return True
        resumed = part.stat().st_size > 0
        receive(url, part, file.size)
        if not file.matches(part) and resumed:
            # The older bytes may be to blame (another file, another mirror): once more from the start.
            os.truncate(part, 0)
            receive(url, part, file.size)
        if not file.matches(part):
            part.unlink()
            return False
        part.replace(path)
        fsync_directory(path.parent)
        return True


@contextmanager
def _explained(file: RemoteFile, folder: Path) -> Iterator[None]:
    """Turn what the file system refuses into one sentence."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            needs = "" if file.size is None else f" ({file.size / 1e6:.0f} MB)"
            raise DataError(
                f"the disk of {folder} is full: there is no room for {file.name}{needs}; "
                "free some or choose another data folder"
            ) from error
        raise DataError(
            f"{folder} cannot take {file.name}: {error.strerror or error}; choose a data folder that can be "
            f"written, or get the file from {file.urls[0]} and put it there"
        ) from error
