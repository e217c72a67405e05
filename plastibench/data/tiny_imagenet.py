"""Tiny-ImageNet: from the archive as downloaded, or from its unpacked folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from plastibench.data.archives import FolderSource, Source, ZipSource, decode
from plastibench.data.decoded_cache import Pixels, Recipe, cached, load
from plastibench.data.fetch import RemoteFile, find, obtain
from plastibench.data.images import LabeledImages
from plastibench.errors import DataError, unknown

TINY_IMAGENET = RemoteFile(
    name="tiny-imagenet-200.zip",
    urls=(
        "http://cs231n.stanford.edu/tiny-imagenet-200.zip",
        "https://cs231n.stanford.edu/tiny-imagenet-200.zip",
    ),
    digest="md5:90528d7ca1a48142e341f4ef8d21d0de",
    size=248100043,
)
EDITIONS = ("official", "subset")

_FOLDER = "tiny-imagenet-200"
_FOLDERS = (_FOLDER, f"tiny-imagenet-subset/{_FOLDER}")
_NUM_CLASSES = 200
_TRAIN_PER_CLASS, _TEST_PER_CLASS = 500, 50
_SIDE = 64


@dataclass(frozen=True)
class Listing:
    """Which file is of which class, in the order of classes and then of names."""

    classes: tuple[str, ...]
    train: tuple[tuple[str, int], ...]
    test: tuple[tuple[str, int], ...]


def load_tiny_imagenet(
    data: Path, cache: Path, edition: str = "official"
) -> tuple[LabeledImages, LabeledImages]:
    """Return Tiny-ImageNet: 500 train and 50 test images a class, (3, 64, 64); test is its val part.

    Editions are "official", 200 classes, downloaded when missing, and "subset", a folder whose
    `wnids.txt` names at least two. Classes are numbered in the order of their names. The decoded
    images are kept in `cache`. Raises `DataError` when files are missing, altered or not images.
    """
    if edition not in EDITIONS:
        raise unknown("edition of Tiny-ImageNet", edition, EDITIONS)
    source = find_source(data, edition)
    listing = list_images(source, "" if isinstance(source, FolderSource) else f"{_FOLDER}/")
    _check_edition(source, listing, edition)
    parts = load(cached(cache, _recipe(source, listing, edition)))
    return parts["train"], parts["test"]


def find_source(data: Path, edition: str) -> Source:
    """Return the archive or else the unpacked folder in `data`; download the archive if official."""
    archive = find(TINY_IMAGENET, data) if edition == "official" else None
    if archive is None:
        for name in _FOLDERS if edition == "subset" else _FOLDERS[:1]:
            if (data / name / "wnids.txt").is_file():
                return FolderSource(data / name)
        if edition == "subset":
            raise DataError(
                f"there is no Tiny-ImageNet folder in {data} ({' or '.join(_FOLDERS)}, with wnids.txt); "
                "put it there, or ask for edition 'official', which is downloaded"
            )
        archive = obtain(TINY_IMAGENET, data)
    return ZipSource(archive, TINY_IMAGENET.digest)


def _check_edition(source: Source, listing: Listing, edition: str) -> None:
    """Raise `DataError` when the number of classes is not the edition's."""
    found = len(listing.classes)
    if edition == "official" and found != _NUM_CLASSES:
        raise DataError(
            f"{source.where} has {found} classes, and Tiny-ImageNet has {_NUM_CLASSES}; "
            "ask for edition 'subset', or move the folder away and the archive is downloaded"
        )
    if found < 2:
        raise DataError(f"{source.where} has {found} classes in wnids.txt; at least 2 are needed")


def list_images(source: Source, root: str = "") -> Listing:
    """Return the images below `root`, a prefix ending in a slash or nothing, in the original layout.

    Raises `DataError` when a class has not its 500 train and 50 val images.
    """
    classes = tuple(sorted({words[0] for words in source.lines(f"{root}wnids.txt")}))
    numbers = {wnid: number for number, wnid in enumerate(classes)}
    train = []
    for wnid, number in numbers.items():
        folder = f"{root}train/{wnid}/images"
        files = [name for name in source.names(folder) if name.lower().endswith(".jpeg")]
        _check_count(source, f"train/{wnid}/images", len(files), _TRAIN_PER_CLASS)
        train += [(f"{folder}/{name}", number) for name in files]
    present = set(source.names(f"{root}val/images"))
    annotated = {words[0]: words[1] for words in source.lines(f"{root}val/val_annotations.txt") if words[1:]}
    test = sorted(
        (numbers[wnid], name) for name, wnid in annotated.items() if wnid in numbers and name in present
    )
    for wnid, number in numbers.items():
        found = sum(1 for label, _ in test if label == number)
        _check_count(source, f"val/images of {wnid}", found, _TEST_PER_CLASS)
    return Listing(classes, tuple(train), tuple((f"{root}val/images/{name}", label) for label, name in test))


def _check_count(source: Source, what: str, found: int, wanted: int) -> None:
    """Raise `DataError` unless a class is complete."""
    if found != wanted:
        raise DataError(
            f"{source.where} has {found} images in {what}, and Tiny-ImageNet has {wanted}; "
            f"unpack {TINY_IMAGENET.name} again, in its original layout"
        )


def _recipe(source: Source, listing: Listing, edition: str) -> Recipe:
    """Return how the images are decoded into a store."""
    names = [name for name, _ in (*listing.train, *listing.test)]

    def pixels(number: int) -> Pixels:
        image = decode(source.read(names[number]), f"{names[number]} in {source.where}")
        if image.size != (_SIDE, _SIDE):
            raise DataError(
                f"{names[number]} in {source.where} is {image.width} x {image.height} pixels; "
                f"images of Tiny-ImageNet are {_SIDE} x {_SIDE}"
            )
        return np.asarray(image).transpose(2, 0, 1)

    return Recipe(
        name=f"tiny-imagenet-{edition}",
        key=source.digest(names),
        shape=(3, _SIDE, _SIDE),
        classes=listing.classes,
        labels={
            "train": [label for _, label in listing.train],
            "test": [label for _, label in listing.test],
        },
        decode=pixels,
    )
