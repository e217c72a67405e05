"""Image files that cannot be decoded: found before a run, not after days of it; refused or left out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Literal

from plastibench.console import progress
from plastibench.data.image_files import FolderSource, ImageFiles, ImageListing, decode_image, seems_complete
from plastibench.errors import DataError, count, shortened
from plastibench.system.cpu import num_cores
from plastibench.system.files import write_atomic
from plastibench.system.locks import file_lock

BrokenImages = Literal["refuse", "skip"]
"""What is done about files that cannot be decoded: nothing runs, or they are left out."""

MAX_NAMES = 5
"""Broken files that a message names."""
_BLOCK_SIZE = 4096
_WAY_OUT = "get them again, or leave them out with broken_images=skip"


def whole_images(
    source: FolderSource, listing: ImageListing, cache: Path, broken_images: BrokenImages
) -> tuple[ImageListing, tuple[str, ...]]:
    """Return the listing without the files that cannot be decoded, and these with the reason for each.

    "refuse" reads the header and the end of every file, and decodes those that do not end as they should;
    "skip" decodes all. The answer is kept in `cache` until a file changes. Raises DataError for a broken file
    if they are refused, and for a class that has none but broken ones.
    """
    broken = find_broken(source, listing.names, cache, decode_all=broken_images == "skip")
    if not broken:
        return listing, ()
    if broken_images == "refuse":
        raise DataError(f"{describe_broken(broken, len(listing.names))} in {source.path}; {_WAY_OUT}")
    kept = replace(listing, train=_without(listing.train, broken), test=_without(listing.test, broken))
    for before, after in ((listing.train, kept.train), (listing.test, kept.test)):
        for label in set(before.labels.tolist()) - set(after.labels.tolist()):
            first = next(
                name for name, of in zip(before.names, before.labels.tolist(), strict=True) if of == label
            )
            raise DataError(f"all images beside {source.path / first} are broken; get them again")
    return kept, tuple(f"{name} ({reason})" for name, reason in broken.items())


def describe_broken(broken: Mapping[str, str], num_files: int) -> str:
    """Return how many of the files are broken, and the names of the first ones with the reasons."""
    named = shortened([f"{name} ({reason})" for name, reason in broken.items()], MAX_NAMES)
    return f"{len(broken)} of {count(num_files, 'image')} cannot be decoded: {named}"


def find_broken(
    source: FolderSource, names: Sequence[str], cache: Path, *, decode_all: bool
) -> dict[str, str]:
    """Return the reason for each broken file, from the cache if these files have been checked before."""
    path = cache / f"checked-{'whole' if decode_all else 'ends'}-{source.digest(list(names))[:16]}.json"
    cache.mkdir(parents=True, exist_ok=True)
    with file_lock(path.with_suffix(".lock"), remove=True):
        if path.is_file():
            found: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
            return found
        found = _check(source, names, decode_all=decode_all)
        write_atomic(path, json.dumps(found))
    return found


def _check(source: FolderSource, names: Sequence[str], *, decode_all: bool) -> dict[str, str]:
    def reason(name: str) -> str | None:
        if not decode_all and seems_complete(source.path / name):
            return None
        try:
            decode_image(source.read(name), "")
        except DataError as error:
            return str(error).strip().removeprefix("is ").partition(";")[0]
        return None

    broken = {}
    # Threads are enough: Pillow decodes without holding the interpreter's lock, and reading waits.
    with progress("checking images", len(names)) as advance, ThreadPoolExecutor(num_cores()) as pool:
        for start in range(0, len(names), _BLOCK_SIZE):
            block = names[start : start + _BLOCK_SIZE]
            reasons = zip(block, pool.map(reason, block), strict=True)
            broken.update({name: why for name, why in reasons if why is not None})
            advance(len(block))
    return broken


def _without(files: ImageFiles, broken: Mapping[str, str]) -> ImageFiles:
    kept = [position for position, name in enumerate(files.names) if name not in broken]
    return ImageFiles(tuple(files.names[position] for position in kept), files.labels[kept])
