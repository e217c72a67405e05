"""Where image files are read from: a folder, or a zip file that is read as it was downloaded."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections import defaultdict
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from plastibench.errors import DataError

if TYPE_CHECKING:
    from PIL import Image


class Source(ABC):
    """A tree of files, by names with forward slashes."""

    where: Path
    """The folder or the zip file, for messages."""

    @abstractmethod
    def names(self, folder: str) -> list[str]:
        """Return the names right below `folder`, sorted; none where there is no such folder."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """Return the contents of a file; raise `DataError` where that cannot be had whole."""

    @abstractmethod
    def digest(self, names: list[str]) -> str:
        """Return a SHA-256, hexadecimal, that changes when one of the files changes."""

    def lines(self, name: str) -> list[list[str]]:
        """Return the words of each line of a text file, without empty lines."""
        text = self.read(name).decode("utf-8", errors="replace")
        return [line.split() for line in text.splitlines() if line.strip()]


class FolderSource(Source):
    """Files below a folder."""

    def __init__(self, where: Path) -> None:
        self.where = where

    def names(self, folder: str) -> list[str]:
        """Return the names right below `folder`, sorted."""
        try:
            return sorted(os.listdir(self.where / folder))  # noqa: PTH208 - Path objects cost a multiple
        except (FileNotFoundError, NotADirectoryError):
            return []

    def read(self, name: str) -> bytes:
        """Return the contents of a file."""
        try:
            return (self.where / name).read_bytes()
        except OSError as error:
            raise DataError(f"{self.where / name} cannot be read: {error.strerror or error}") from error

    def digest(self, names: list[str]) -> str:
        """Return a SHA-256 over names, sizes and times of change: reading every file would take long."""
        state = hashlib.sha256()
        for name in names:
            found = (self.where / name).stat()
            state.update(f"{name}\0{found.st_size}\0{found.st_mtime_ns}\n".encode())
        return state.hexdigest()


class ZipSource(Source):
    """Files in a zip file, whose own checksum has been verified."""

    def __init__(self, where: Path, verified: str) -> None:
        self.where = where
        self._verified = verified
        self._names: dict[str, list[str]] = defaultdict(list)
        try:
            self._zip = zipfile.ZipFile(where)
        except (zipfile.BadZipFile, OSError) as error:
            raise DataError(
                f"{where} is not a whole zip file ({error}); remove it and get it again"
            ) from error
        for name in self._zip.namelist():
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or "\\" in name:
                raise DataError(f"{where} has the member {name!r}, which no image archive has")
            self._names[str(path.parent)].append(path.name)

    def names(self, folder: str) -> list[str]:
        """Return the names right below `folder`, sorted."""
        return sorted(self._names.get(folder.rstrip("/"), ()))

    def read(self, name: str) -> bytes:
        """Return the contents of a member, checked against its CRC."""
        try:
            return self._zip.read(name)
        except (KeyError, zipfile.BadZipFile, zlib.error, OSError, EOFError) as error:
            raise DataError(f"{name} in {self.where} cannot be read: {error}") from error

    def digest(self, names: list[str]) -> str:
        """Return a SHA-256 of the zip file's verified checksum and the names."""
        return hashlib.sha256("\n".join([self._verified, *names]).encode()).hexdigest()


def decode(content: bytes, name: str) -> Image.Image:
    """Return an image file as RGB, gray ones too; raise `DataError` when it is not a whole image."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content)) as image:
            return image.convert("RGB")
    # Pillow raises many things at a damaged file: OSError, SyntaxError, ValueError, struct.error.
    except Exception as error:
        raise DataError(f"{name} is not a whole image ({error}); get it again") from error
