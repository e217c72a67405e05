"""Image files: their sources (a folder, or a zip file that is not unpacked), listings and decoding."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from plastibench.errors import DataError

if TYPE_CHECKING:
    from PIL import Image


class FileSource(ABC):
    """A tree of files, whose names have forward slashes."""

    path: Path
    """The folder or the zip file."""

    @abstractmethod
    def list_names(self, folder: str) -> list[str]:
        """Return the sorted names in `folder`, not those in its subfolders; empty if it does not exist."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """Return the content of a file. Raises DataError if it is damaged or missing."""

    @abstractmethod
    def digest(self, names: list[str]) -> str:
        """Return a SHA-256, hexadecimal, that changes when one of the files changes."""

    def read_lines(self, name: str) -> list[list[str]]:
        """Return the words of each line of a text file, without empty lines."""
        text = self.read(name).decode("utf-8", errors="replace")
        return [line.split() for line in text.splitlines() if line.strip()]


class FolderSource(FileSource):
    """Files in a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def list_names(self, folder: str) -> list[str]:
        """Return the sorted names in `folder`."""
        try:
            return sorted(os.listdir(self.path / folder))  # noqa: PTH208 - Path objects take several times as long
        except (FileNotFoundError, NotADirectoryError):
            return []

    def read(self, name: str) -> bytes:
        """Return the content of a file."""
        try:
            return (self.path / name).read_bytes()
        except OSError as error:
            raise DataError(f"{self.path / name} cannot be read: {error.strerror or error}") from error

    def digest(self, names: list[str]) -> str:
        """Return a SHA-256 of names, sizes and modification times; reading every file would take long."""
        state = hashlib.sha256()
        for name in names:
            stat = (self.path / name).stat()
            state.update(f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
        return state.hexdigest()


class ZipSource(FileSource):
    """Files in a zip file, whose own digest has been verified."""

    def __init__(self, path: Path, verified_digest: str) -> None:
        self.path = path
        self._digest = verified_digest
        self._names: dict[str, list[str]] = defaultdict(list)
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError) as error:
            raise DataError(
                f"{path} is not a complete zip file ({error}); remove it and get it again"
            ) from error
        for name in self._zip.namelist():
            member = PurePosixPath(name)
            if member.is_absolute() or ".." in member.parts or "\\" in name:
                raise DataError(f"{path} has the member {name!r}, which no image archive has")
            self._names[str(member.parent)].append(member.name)

    def list_names(self, folder: str) -> list[str]:
        """Return the sorted names in `folder`."""
        return sorted(self._names.get(folder.rstrip("/"), ()))

    def read(self, name: str) -> bytes:
        """Return the content of a member, checked against its CRC."""
        try:
            return self._zip.read(name)
        except (KeyError, zipfile.BadZipFile, zlib.error, OSError, EOFError) as error:
            raise DataError(f"{name} in {self.path} cannot be read: {error}") from error

    def digest(self, names: list[str]) -> str:
        """Return a SHA-256 of the zip file's digest and the names."""
        return hashlib.sha256("\n".join([self._digest, *names]).encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """The image files of one part of a data set."""

    names: tuple[str, ...]
    """In the source, with forward slashes."""
    labels: Tensor
    """Shape (n,), int64."""

    @classmethod
    def from_pairs(cls, pairs: Sequence[tuple[str, int]]) -> ImageFiles:
        """Return files given as pairs of a name and a label."""
        labels = torch.tensor([label for _, label in pairs], dtype=torch.int64)
        return cls(tuple(name for name, _ in pairs), labels)


@dataclass(frozen=True, eq=False)
class ImageListing:
    """The image files of a data set; classes are numbered in the order of their names."""

    classes: tuple[str, ...]
    train: ImageFiles
    test: ImageFiles

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the files of both parts."""
        return self.train.names + self.test.names


def decode_image(content: bytes, name: str) -> Image.Image:
    """Return an image file as RGB, also if it is gray. Raises DataError if it is damaged."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content)) as image:
            return image.convert("RGB")
    except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError, struct.error and others
        raise DataError(f"{name} is not a complete image ({error}); get it again") from error
