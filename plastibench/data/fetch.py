"""Files of published data sets: found on disk or downloaded, and always verified."""

import errno
import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

from plastibench.data.download import DownloadError, download
from plastibench.errors import DataError
from plastibench.system.files import fsync_directory
from plastibench.system.locks import file_lock
from plastibench.system.uris import without_password

MIRROR_VARIABLE = "PLASTIBENCH_MIRROR"
"""Environment variable with base URLs that are tried before the published ones, as `<base>/<file name>`."""


_downloads_allowed: ContextVar[bool] = ContextVar("downloads_allowed", default=True)


@contextmanager
def no_downloads() -> Iterator[None]:
    """Raise DataError inside the context for a file that is not there instead of downloading it."""
    token = _downloads_allowed.set(False)
    try:
        yield
    finally:
        _downloads_allowed.reset(token)


@dataclass(frozen=True)
class RemoteFile:
    """A published file and its checksum."""

    name: str
    """File name, without folders."""
    urls: tuple[str, ...]
    """The origin first, then mirrors."""
    digest: str
    """`md5:<hexadecimal>` or `sha256:<hexadecimal>` of the published file."""
    size: int | None = None
    """Bytes, if known."""
    unpacked: Mapping[str, str] = field(default_factory=dict)
    """Names and digests of its unpacked copies, which are looked for on disk, too."""

    def matches(self, path: Path) -> bool:
        """Return whether the file at `path` has the right digest."""
        return file_digest(path, self.digest.partition(":")[0]) == self.digest


def file_digest(path: Path, algorithm: str = "sha256") -> str:
    """Return `<algorithm>:<hexadecimal>` of a file."""
    with path.open("rb") as stream:
        # MD5 is what the publishers list: it protects against damage, TLS against attackers.
        state = hashlib.file_digest(stream, lambda: hashlib.new(algorithm, usedforsecurity=False))
    return f"{algorithm}:{state.hexdigest()}"


def copies(file: RemoteFile, folder: Path, subfolders: Sequence[str] = ("",)) -> list[Path]:
    """Return where copies of a file may be, the first to be looked for first."""
    return [folder / place / name for place in subfolders for name in (file.name, *file.unpacked)]


def find_file(file: RemoteFile, folder: Path, subfolders: Sequence[str] = ("",)) -> Path | None:
    """Return a verified copy in one of the subfolders of `folder`, or None.

    Raises DataError if the first copy found is truncated or altered.
    """
    digests = {file.name: file.digest, **file.unpacked}
    for path in copies(file, folder, subfolders):
        if not path.is_file():
            continue
        algorithm, expected = digests[path.name].split(":")
        try:
            found = file_digest(path, algorithm).split(":")[1]
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
        if found == expected:
            return path
        raise DataError(
            f"{path} is truncated or altered: its {algorithm} is {found}, not {expected}; "
            f"remove it to download it again, or get it from {file.urls[0]}"
        )
    return None


def fetch(file: RemoteFile, folder: Path, subfolders: Sequence[str] = ("",)) -> Path:
    """Return a verified copy in a subfolder of `folder`, downloaded into the first one if there is none.

    Raises DataError if the copy found is not the published file, if no URL gives it, or if the folder cannot
    be written.
    """
    return find_file(file, folder, subfolders) or _download(file, folder / subfolders[0])


def download_urls(file: RemoteFile) -> tuple[str, ...]:
    """Return the URLs to try, in order: the user's mirrors, the origin, known mirrors."""
    bases = [base for base in re.split(r"[\s,]+", os.environ.get(MIRROR_VARIABLE, "")) if base]
    return (*(f"{base.rstrip('/')}/{file.name}" for base in bases), *file.urls)


def _download(file: RemoteFile, folder: Path) -> Path:
    """Download a file, verify it and move it into place; an incomplete download stays as `<name>.part`."""
    if not _downloads_allowed.get():
        raise DataError(f"{file.name} is not in {folder}")
    failures: list[str] = []
    with _write_errors(file, folder):
        folder.mkdir(parents=True, exist_ok=True)
        with file_lock(folder / f".{file.name}.lock", remove=True):
            path, part = folder / file.name, folder / f"{file.name}.part"
            if path.is_file() and file.matches(path):  # another process was first
                return path
            for url in download_urls(file):
                part.touch()
                try:
                    if _download_verified(file, url, part):
                        part.replace(path)
                        fsync_directory(folder)
                        return path
                    failures.append(f"{without_password(url)}: not the published file, by its checksum")
                    part.unlink()
                except DownloadError as error:
                    failures.append(f"{without_password(url)}: {error}")
            if part.is_file() and not part.stat().st_size:
                part.unlink()
    raise DataError(
        f"{file.name} is not in {folder} and could not be downloaded ({'; '.join(failures)}); "
        f"get it from {file.urls[0]} and put it there"
    )


def _download_verified(file: RemoteFile, url: str, part: Path) -> bool:
    """Return whether `url` gave the published file."""
    resumed = part.stat().st_size > 0
    download(url, part, file.size)
    if resumed and not file.matches(part):
        # The older bytes may be wrong, such as those of another mirror: try once more from the start.
        os.truncate(part, 0)
        download(url, part, file.size)
    return file.matches(part)


@contextmanager
def _write_errors(file: RemoteFile, folder: Path) -> Iterator[None]:
    """Raise DataError for what the file system refuses."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            size = "" if file.size is None else f" ({file.size / 1e6:.0f} MB)"
            raise DataError(
                f"the disk of {folder} is full: there is no room for {file.name}{size}; "
                "free some or choose another data folder"
            ) from error
        raise DataError(
            f"{folder} cannot take {file.name}: {error.strerror or error}; choose a writable data folder, "
            f"or get the file from {file.urls[0]} and put it there"
        ) from error
