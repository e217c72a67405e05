"""Tiny-ImageNet: from the archive as downloaded, or from its unpacked folder."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from plastibench.data.decoded_cache import DecodeJob, Pixels, decode_once, load_decoded
from plastibench.data.fetch import RemoteFile, fetch, find_file
from plastibench.data.image_files import (
    FileSource,
    FolderSource,
    ImageFiles,
    ImageListing,
    ZipSource,
    decode_image,
)
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
NUM_CLASSES = 200
EDITIONS = ("official", "subset")
FOLDER = "tiny-imagenet-200"
FOLDERS = {"official": (FOLDER,), "subset": (FOLDER, f"tiny-imagenet-subset/{FOLDER}")}
"""By edition, where the unpacked folder may be in the data folder."""

_TRAIN_PER_CLASS, _TEST_PER_CLASS = 500, 50
_SIDE = 64


def load_tiny_imagenet(
    data: Path,
    cache: Path,
    edition: str = "official",
    *,
    archive: RemoteFile = TINY_IMAGENET,
    num_classes: int = NUM_CLASSES,
) -> tuple[LabeledImages, LabeledImages]:
    """Return Tiny-ImageNet: 500 train and 50 test images per class, (3, 64, 64); test is its val part.

    Editions are "official", 200 classes, downloaded if missing, and "subset", a folder whose `wnids.txt`
    names at least two. Classes are numbered in the order of their names. Decoded images are kept in `cache`.
    Raises DataError if files are missing, altered or not images.
    """
    if edition not in EDITIONS:
        raise unknown("edition of Tiny-ImageNet", edition, EDITIONS)
    source = _find_source(data, edition, archive)
    listing = list_tiny_imagenet(source, "" if isinstance(source, FolderSource) else f"{FOLDER}/")
    count = len(listing.classes)
    if edition == "official" and count != num_classes:
        raise DataError(
            f"{source.path} has {count} classes, and Tiny-ImageNet has {num_classes}; "
            "ask for edition 'subset', or move the folder away to download the archive"
        )
    if count < 2:
        raise DataError(f"{source.path} has {count} classes in wnids.txt; at least 2 are needed")
    return load_decoded(decode_once(cache, _decode_job(source, listing, edition)))


def _find_source(data: Path, edition: str, archive: RemoteFile) -> FileSource:
    """Return the archive or else the unpacked folder in `data`; download the archive if official."""
    path = find_file(archive, data) if edition == "official" else None
    if path is None:
        for name in FOLDERS[edition]:
            if (data / name / "wnids.txt").is_file():
                return FolderSource(data / name)
        if edition == "subset":
            raise DataError(
                f"there is no Tiny-ImageNet folder in {data} ({' or '.join(FOLDERS[edition])}, "
                "with wnids.txt); put it there, or ask for edition 'official', which is downloaded"
            )
        path = fetch(archive, data)
    return ZipSource(path, archive.digest)


def list_tiny_imagenet(source: FileSource, root: str = "") -> ImageListing:
    """Return the images below `root`, a prefix with a final slash or nothing, in the original layout.

    Raises DataError if a class has not its 500 train and 50 val images.
    """
    classes = tuple(sorted({words[0] for words in source.read_lines(f"{root}wnids.txt")}))
    labels = {wnid: label for label, wnid in enumerate(classes)}
    train: list[tuple[str, int]] = []
    for wnid, label in labels.items():
        folder = f"{root}train/{wnid}/images"
        names = [name for name in source.list_names(folder) if name.lower().endswith(".jpeg")]
        _check_count(source, f"train/{wnid}/images", len(names), _TRAIN_PER_CLASS)
        train += [(f"{folder}/{name}", label) for name in names]
    folder = f"{root}val/images"
    present = set(source.list_names(folder))
    annotated = {
        words[0]: words[1] for words in source.read_lines(f"{root}val/val_annotations.txt") if words[1:]
    }
    test = sorted(
        (labels[wnid], name) for name, wnid in annotated.items() if wnid in labels and name in present
    )
    counts = Counter(label for label, _ in test)
    for wnid, label in labels.items():
        _check_count(source, f"val/images of {wnid}", counts[label], _TEST_PER_CLASS)
    test_pairs = [(f"{folder}/{name}", label) for label, name in test]
    return ImageListing(classes, ImageFiles.from_pairs(train), ImageFiles.from_pairs(test_pairs))


def _check_count(source: FileSource, what: str, count: int, expected: int) -> None:
    """Raise DataError if a class is not complete."""
    if count != expected:
        raise DataError(
            f"{source.path} has {count} images in {what}, and Tiny-ImageNet has {expected}; "
            f"unpack {TINY_IMAGENET.name} again, in its original layout"
        )


def _decode_job(source: FileSource, listing: ImageListing, edition: str) -> DecodeJob:
    def decode(name: str) -> Pixels:
        image = decode_image(source.read(name), f"{name} in {source.path}")
        if image.size != (_SIDE, _SIDE):
            raise DataError(
                f"{name} in {source.path} is {image.width} x {image.height} pixels; "
                f"images of Tiny-ImageNet are {_SIDE} x {_SIDE}"
            )
        return np.asarray(image).transpose(2, 0, 1)

    return DecodeJob(
        name=f"tiny-imagenet-{edition}",
        key=source.digest(list(listing.names)),
        shape=(3, _SIDE, _SIDE),
        listing=listing,
        decode=decode,
    )
