"""Image files: their sources (a folder, or a zip file that is not unpacked), listings and decoding."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from plastibench.errors import DataError
from plastibench.system.files import is_left_behind

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""Of image files, as in torchvision's ImageFolder."""
_NO_GRAY_LEVELS = ("I", "F")
"""What Pillow calls pixels of 16 or 32 bits, which it would clip at 255."""
_ENDS = {"JPEG": b"\xff\xd9", "PNG": b"\0\0\0\0IEND\xaeB`\x82"}
"""The last bytes of complete files."""
SAMPLED_FILES = 1000
"""Files of a folder whose contents identify it; of fewer than twice as many, all are read."""
_digests: dict[bytes, str] = {}
"""Digests of folders that this process has computed, by what the system said of their files."""


class FileSource(ABC):
    """A tree of files, whose names have forward slashes."""

    path: Path
    """The folder or the zip file."""

    @abstractmethod
    def list_files(self, folder: str) -> list[str]:
        """Return the sorted names of the files in `folder`; none if it does not exist."""

    @abstractmethod
    def list_folders(self, folder: str) -> list[str]:
        """Return the sorted names of the folders in `folder`; none if it does not exist."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """Return the content of a file. Raises DataError if it is damaged or missing."""

    @abstractmethod
    def digest(self, names: list[str]) -> str:
        """Return a SHA-256, hexadecimal, that changes when one of the files changes."""

    def list_images(self, folder: str) -> list[str]:
        """Return the sorted names of the image files in `folder`."""
        return [name for name in self.list_files(folder) if name.lower().endswith(SUFFIXES)]

    def read_lines(self, name: str) -> list[list[str]]:
        """Return the words of each line of a text file, without empty lines."""
        text = self.read(name).decode("utf-8-sig", errors="replace")
        return [line.split() for line in text.splitlines() if line.strip()]


class FolderSource(FileSource):
    """Files in a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def list_files(self, folder: str) -> list[str]:
        """Return the sorted names of the files in `folder`."""
        return self._list(folder, folders=False)

    def list_folders(self, folder: str) -> list[str]:
        """Return the sorted names of the folders in `folder`."""
        return self._list(folder, folders=True)

    def _list(self, folder: str, *, folders: bool) -> list[str]:
        with self._errors(folder):
            try:
                with os.scandir(self.path / folder) as entries:
                    # A link to nothing counts as a file, which is named when it cannot be read.
                    return sorted(
                        each.name
                        for each in entries
                        if not is_left_behind(each.name) and each.is_dir() == folders
                    )
            except (FileNotFoundError, NotADirectoryError):
                return []

    def read(self, name: str) -> bytes:
        """Return the content of a file."""
        with self._errors(name):
            return (self.path / name).read_bytes()

    @contextmanager
    def _errors(self, name: str) -> Iterator[None]:
        """Raise DataError for what the file system refuses."""
        try:
            yield
        except OSError as error:
            raise DataError(f"{self.path / name} cannot be read: {error.strerror or error}") from error

    def digest(self, names: list[str], *, times: bool = True) -> str:
        """Return a SHA-256 of names, sizes, modification times, and contents of at least `SAMPLED_FILES`.

        Reading more files would take long. Without `times` a copy has the same digest, in other folders too.
        A process reads contents again only if the system says that one of the files has changed.
        """
        stats = [self._stat(name) for name in names]
        seen = hashlib.sha256(f"{self.path.absolute()}\0{times}\n".encode())
        for name, stat in zip(names, stats, strict=True):
            seen.update(
                f"{name}\0{stat.st_ino}\0{stat.st_size}\0{stat.st_mtime_ns}\0{stat.st_ctime_ns}\n".encode()
            )
        if seen.digest() not in _digests:
            _digests[seen.digest()] = self._digest(names, stats, times=times)
        return _digests[seen.digest()]

    def _digest(self, names: list[str], stats: list[os.stat_result], *, times: bool) -> str:
        state = hashlib.sha256()
        step = max(1, len(names) // SAMPLED_FILES)
        for position, (name, stat) in enumerate(zip(names, stats, strict=True)):
            identity = f"{name}\0{stat.st_mtime_ns}" if times else name.rpartition("/")[2]
            state.update(f"{identity}\0{stat.st_size}\n".encode())
            if position % step == 0:
                state.update(self.read(name))
        return state.hexdigest()

    def _stat(self, name: str) -> os.stat_result:
        with self._errors(name):
            return (self.path / name).stat()


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
            if not name.endswith("/"):
                self._names[str(member.parent)].append(member.name)

    def list_files(self, folder: str) -> list[str]:
        """Return the sorted names of the files in `folder`."""
        return sorted(name for name in self._names.get(folder, ()) if not is_left_behind(name))

    def list_folders(self, folder: str) -> list[str]:
        """Return the sorted names of the folders in `folder` that hold files."""
        parts = (path.rpartition("/") for path in self._names)
        return sorted(name for parent, _, name in parts if parent == folder and not is_left_behind(name))

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
    def by_class(cls, names: Sequence[Sequence[str]]) -> ImageFiles:
        """Return files given as the names of each class."""
        counts = torch.tensor([len(part) for part in names], dtype=torch.int64)
        labels = torch.arange(len(names)).repeat_interleave(counts)
        return cls(tuple(name for part in names for name in part), labels)


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

    def digest(self, source: FileSource) -> str:
        """Return a SHA-256, hexadecimal, that changes when a file or a label changes."""
        state = hashlib.sha256(source.digest(list(self.names)).encode())
        for files in (self.train, self.test):
            state.update(files.labels.numpy().astype("<i8").data)
        return state.hexdigest()


def decode_image(content: bytes, name: str) -> Image.Image:
    """Return an image file as RGB, also if it is gray, CMYK or has a palette, and as it is stored.

    As in torchvision, transparency and an EXIF rotation are ignored. Raises DataError if it is damaged, or
    has more than 8 bits a pixel and channel.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(content)) as image:
            if image.mode.startswith(_NO_GRAY_LEVELS):
                raise DataError(f"{name} has pixels of more than 8 bits ({image.mode}); convert it to 8 bits")
            image.load()
            return image if image.mode == "RGB" else image.convert("RGB")
    except UnidentifiedImageError as error:
        what = "a format that Pillow cannot read" if content else "an empty file"
        raise DataError(f"{name} is not an image but {what}; get it again") from error
    except DataError:
        raise
    except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError, struct.error and others
        raise DataError(f"{name} is not a complete image ({error}); get it again") from error


def seems_complete(path: Path) -> bool:
    """Return whether a file has the header of an image with 8 bits and ends as its format does.

    It reads a few kilobytes. A file for which it is false may be decodable all the same.
    """
    from PIL import Image

    try:
        with path.open("rb") as stream, Image.open(stream) as image:
            end = _ENDS.get(image.format or "")
            if end is None or image.mode.startswith(_NO_GRAY_LEVELS):
                return False
            stream.seek(-len(end), os.SEEK_END)
            return stream.read() == end
    except Exception:  # as in `decode_image`, which finds the reason
        return False


def central_square(image: Image.Image, size: int) -> Image.Image:
    """Return the central square of an image whose shorter side is resized to `size` pixels."""
    from PIL import Image

    # Rounded like torchvision's Resize and CenterCrop.
    shorter = min(image.size)
    width, height = (size * side // shorter for side in image.size)
    resized = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - size) / 2), round((height - size) / 2)
    return resized.crop((left, top, left + size, top + size))
