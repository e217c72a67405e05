"""Images decoded once and kept as bytes on disk, so that the next run starts at once.

A store is a folder with `images.u8` (pixels, one image after another), `labels.i64` and
`header.json`. It appears under its name when it is whole, and is verified each time it is read.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch

from plastibench.console import progress
from plastibench.data.fetch import digest_of
from plastibench.data.images import LabeledImages
from plastibench.errors import DataError
from plastibench.system.cpu import num_cores
from plastibench.system.locks import file_lock

Pixels = np.ndarray[Any, np.dtype[np.uint8]]
"""Shape (c, h, w)."""

_FORMAT = 1
_BLOCK = 2048
"""Images decoded between two notes of how far the work has come."""


@dataclass(frozen=True, eq=False)
class Recipe:
    """What is decoded into a store."""

    name: str
    """How the store is called on disk, with the beginning of the key."""
    key: str
    """A digest of the source: another source makes another store."""
    shape: tuple[int, int, int]
    """Of one image: channels, height, width."""
    classes: tuple[str, ...]
    labels: Mapping[str, list[int]]
    """By part, in the order in which images are numbered."""
    decode: Callable[[int], Pixels]
    """Returns the image of a number, counted through all parts."""

    @property
    def folder(self) -> str:
        """Name of the folder of the store."""
        return f"{self.name}-{self.key[:16]}"


def cached(cache: Path, recipe: Recipe) -> Path:
    """Return the folder of the store in `cache`, made first where it is missing.

    Work that was interrupted is continued. Raises `DataError` for an image that cannot be decoded
    and for a `cache` that cannot be written.
    """
    folder = cache / recipe.folder
    if folder.is_dir():
        return folder
    with _explained(cache):
        cache.mkdir(parents=True, exist_ok=True)
        with file_lock(cache / f"{recipe.folder}.lock", remove=True):
            if not folder.is_dir():
                _build(recipe, cache / f"{recipe.folder}.part").replace(folder)
    return folder


def load(folder: Path) -> dict[str, LabeledImages]:
    """Return the parts of a store, mapped from disk; raise `DataError` when it is damaged."""
    try:
        header = json.loads((folder / "header.json").read_text(encoding="utf-8"))
        whole = header["format"] == _FORMAT and all(
            digest_of(folder / name) == digest for name, digest in header["digests"].items()
        )
        shape, counts = tuple(header["shape"]), header["counts"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        whole = False
    if not whole:
        raise DataError(
            f"{folder} is damaged: its checksum is not the noted one; remove it and it is made again"
        )
    total = sum(counts.values())
    # Copy-on-write: torch wants memory that may be written, the file stays as it is.
    pixels = torch.from_numpy(np.memmap(folder / "images.u8", np.uint8, "c", shape=(total, *shape)))
    labels = torch.from_numpy(np.fromfile(folder / "labels.i64", "<i8").astype(np.int64))
    edges = accumulate(counts.values(), initial=0)
    return {
        part: LabeledImages(pixels[start:end], labels[start:end])
        for part, (start, end) in zip(counts, pairwise(edges), strict=True)
    }


def _build(recipe: Recipe, part: Path) -> Path:
    """Decode everything into the folder `part` and return it."""
    labels = [label for numbers in recipe.labels.values() for label in numbers]
    size = int(np.prod(recipe.shape))
    done = _resume(part, recipe.key)
    with (
        (part / "images.u8").open("r+b") as stream,
        progress(f"decoding {recipe.name}", len(labels)) as advance,
    ):
        stream.truncate(done * size)
        stream.seek(0, os.SEEK_END)
        advance(done)
        # Threads are enough: Pillow decodes without the interpreter's lock.
        with ThreadPoolExecutor(num_cores()) as pool:
            for start in range(done, len(labels), _BLOCK):
                numbers = range(start, min(start + _BLOCK, len(labels)))
                for pixels in pool.map(recipe.decode, numbers):
                    stream.write(_checked(pixels, recipe.shape).tobytes())
                    advance(1)
                _sync(stream)
                _write(part / "progress.json", {"key": recipe.key, "done": numbers.stop})
    with (part / "labels.i64").open("wb") as stream:
        stream.write(np.asarray(labels, "<i8").tobytes())
        _sync(stream)
    _write(part / "header.json", _header(recipe, part))
    (part / "progress.json").unlink(missing_ok=True)
    return part


def _resume(part: Path, key: str) -> int:
    """Return how many images of an interrupted build can be kept; make `part` ready for the rest."""
    try:
        noted = json.loads((part / "progress.json").read_text(encoding="utf-8"))
        if noted["key"] == key and (part / "images.u8").is_file():
            return int(noted["done"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    (part / "images.u8").touch()
    return 0


def _header(recipe: Recipe, part: Path) -> dict[str, Any]:
    return {
        "format": _FORMAT,
        "key": recipe.key,
        "shape": list(recipe.shape),
        "counts": {name: len(labels) for name, labels in recipe.labels.items()},
        "classes": list(recipe.classes),
        "digests": {name: digest_of(part / name) for name in ("images.u8", "labels.i64")},
    }


def _checked(pixels: Pixels, shape: tuple[int, int, int]) -> Pixels:
    if pixels.shape != shape or pixels.dtype != np.uint8:
        raise TypeError(f"a decoded image is {pixels.dtype} {pixels.shape}, not uint8 {shape}")
    return pixels


def _write(path: Path, content: dict[str, Any]) -> None:
    """Write JSON so that the file is either the old or the new one, whole."""
    new = path.with_suffix(".new")
    with new.open("wb") as stream:
        stream.write(json.dumps(content).encode())
        _sync(stream)
    new.replace(path)


def _sync(stream: BinaryIO) -> None:
    stream.flush()
    os.fsync(stream.fileno())


@contextmanager
def _explained(cache: Path) -> Iterator[None]:
    """Turn what the file system refuses into one sentence."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(
            f"decoded images cannot be kept in {cache}: {reason}; choose a cache folder with room"
        ) from error
