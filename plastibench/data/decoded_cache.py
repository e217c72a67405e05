"""Cache of decoded images on disk, so that the next run starts at once.

An entry is a folder with `images.u8` (pixels, one image after another), `labels.i64` and `header.json`. It
gets its name when it is complete, and is verified each time it is read.
"""

import json
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from plastibench.console import progress
from plastibench.data.fetch import file_digest
from plastibench.data.image_files import ImageListing
from plastibench.data.images import LabeledImages
from plastibench.data.kept import kept
from plastibench.errors import DataError
from plastibench.system.cpu import num_cores
from plastibench.system.files import write_atomic
from plastibench.system.locks import file_lock

Pixels = np.ndarray[Any, np.dtype[np.uint8]]
"""Shape (c, h, w)."""

_FORMAT = 1
_BLOCK_SIZE = 2048
"""Images decoded between two saves of the progress."""


@dataclass(frozen=True, eq=False)
class DecodeJob:
    """What to decode into an entry."""

    name: str
    """Name of the entry, followed by the start of the key."""
    key: str
    """A digest of the source; another source gets another entry."""
    shape: tuple[int, int, int]
    """Of one image: channels, height, width."""
    listing: ImageListing
    decode: Callable[[str], Pixels]
    """Return the image in a file of the listing."""


def decode_once(cache: Path, job: DecodeJob, *, block_size: int = _BLOCK_SIZE) -> Path:
    """Return the folder of an entry; if it is missing, decode it first, or continue an interrupted decoding.

    Raises DataError if an image cannot be decoded, or if `cache` cannot be written.
    """
    name = f"{job.name}-{job.key[:16]}"
    folder = cache / name
    if folder.is_dir():
        return folder
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with file_lock(cache / f"{name}.lock", remove=True):
            if not folder.is_dir():
                part = cache / f"{name}.part"
                _decode(job, part, block_size)
                part.replace(folder)
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(
            f"decoded images cannot be kept in {cache}: {reason}; choose a cache folder with enough space"
        ) from error
    return folder


def load_decoded(folder: Path) -> tuple[LabeledImages, LabeledImages]:
    """Return the train and test images of an entry, mapped from disk. Raises DataError if it is damaged."""
    places = [folder / name for name in ("header.json", "images.u8", "labels.i64")]
    return kept("decoded", places, lambda: _load_verified(folder))


def _load_verified(folder: Path) -> tuple[LabeledImages, LabeledImages]:
    try:
        header = json.loads((folder / "header.json").read_text(encoding="utf-8"))
        intact = header["format"] == _FORMAT and all(
            file_digest(folder / name) == digest for name, digest in header["digests"].items()
        )
        shape, num_train, num_test = header["shape"], header["counts"]["train"], header["counts"]["test"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        intact = False
    if not intact:
        raise DataError(f"{folder} is damaged by its checksum; remove it and it is made again")
    # Copy-on-write: torch needs writable memory, the file stays as it is.
    pixels = np.memmap(folder / "images.u8", np.uint8, "c", shape=(num_train + num_test, *shape))
    x = torch.from_numpy(pixels)
    y = torch.from_numpy(np.fromfile(folder / "labels.i64", "<i8").astype(np.int64))
    return LabeledImages(x[:num_train], y[:num_train]), LabeledImages(x[num_train:], y[num_train:])


def _decode(job: DecodeJob, part: Path, block_size: int) -> None:
    """Decode all images into the folder `part`."""
    _decode_pixels(job, part, block_size)
    train, test = job.listing.train.labels, job.listing.test.labels
    write_atomic(part / "labels.i64", torch.cat([train, test]).numpy().astype("<i8").tobytes())
    header = {
        "format": _FORMAT,
        "key": job.key,
        "shape": list(job.shape),
        "counts": {"train": len(train), "test": len(test)},
        "classes": list(job.listing.classes),
        "digests": {name: file_digest(part / name) for name in ("images.u8", "labels.i64")},
    }
    write_atomic(part / "header.json", json.dumps(header))
    (part / "progress.json").unlink(missing_ok=True)


def _decode_pixels(job: DecodeJob, part: Path, block_size: int) -> None:
    names, num_done = job.listing.names, _resume(part, job.key)
    with (
        (part / "images.u8").open("r+b") as stream,
        progress(f"decoding {job.name}", len(names)) as advance,
        # Threads are enough: Pillow decodes without holding the interpreter's lock.
        ThreadPoolExecutor(num_cores()) as pool,
    ):
        stream.truncate(num_done * int(np.prod(job.shape)))
        stream.seek(0, os.SEEK_END)
        advance(num_done)
        for start in range(num_done, len(names), block_size):
            block = names[start : start + block_size]
            for pixels in pool.map(job.decode, block):
                assert pixels.shape == job.shape
                stream.write(pixels.tobytes())
                advance(1)
            stream.flush()
            os.fsync(stream.fileno())
            write_atomic(part / "progress.json", json.dumps({"key": job.key, "done": start + len(block)}))


def _resume(part: Path, key: str) -> int:
    """Return how many images of an interrupted decoding can be used; prepare `part` for the rest."""
    try:
        saved = json.loads((part / "progress.json").read_text(encoding="utf-8"))
        if saved["key"] == key and (part / "images.u8").is_file():
            return int(saved["done"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    (part / "images.u8").touch()
    return 0
