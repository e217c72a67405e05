"""A folder with a folder of images for each class, decoded once at one size."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
from torch import Tensor

from plastibench.data.broken_images import describe_broken, find_broken
from plastibench.data.decoded_cache import DecodeJob, Pixels, decode_once, load_decoded
from plastibench.data.image_files import (
    FolderSource,
    ImageFiles,
    ImageListing,
    central_square,
    decode_image,
)
from plastibench.data.images import LabeledImages
from plastibench.data.split import split_by_class
from plastibench.errors import DataError, RequestError, count

TEST_SHARE = 0.2
PUBLISHED = ("cifar10-images", "tiny-imagenet-images")
"""Folders that the published boards were made on."""
TRAIN, TESTS = "train", ("test", "val")
"""Folders of parts; the first of `TESTS` that is there has the test images."""


def list_classes(folder: str) -> tuple[str, ...]:
    """Return the names of the classes, sorted. Raises DataError for a folder that is missing or has none."""
    source = _source(folder)
    root = _train_root(source)
    classes = tuple(source.list_folders(root))
    place = source.path / root
    loose = source.list_images(root)
    if loose:
        raise DataError(
            f"{place / loose[0]} lies in no folder of a class: each class has a folder of its own"
        )
    if len(classes) < 2:
        raise DataError(
            f"{place} has {count(len(classes), 'class', 'classes')}: it needs a folder of images for each of "
            "2 classes or more"
        )
    return classes


def load_image_folder(
    folder: str, cache: Path, size: int, test_share: float | None
) -> tuple[LabeledImages, LabeledImages]:
    """Return train and test images, (n, 3, size, size), decoded into `cache` at the first call.

    An image is its central square. Without a test part of its own, a share of each class is for the test, by
    default a fifth. Raises RequestError for an image that is damaged, a class without any, a test image
    without a class, or a share although there is a test part.
    """
    source = _source(folder)
    try:
        listing = list_image_folder(folder, test_share)

        def decode(name: str) -> Pixels:
            image = decode_image(source.read(name), str(source.path / name))
            return np.asarray(central_square(image, size)).transpose(2, 0, 1)

        key, shape = listing.digest(source), (3, size, size)
        job = DecodeJob(name=f"images-{size}", key=key, shape=shape, listing=listing, decode=decode)
        return load_decoded(_decode(source, cache, job))
    except DataError as error:  # of the user's own folder, not of the data folder, which would be named
        raise RequestError(str(error)) from error


def _decode(source: FolderSource, cache: Path, job: DecodeJob) -> Path:
    """Return the folder of the decoded images. Raises DataError that names all those that are damaged."""
    try:
        return decode_once(cache, job)
    except DataError as error:
        broken = dict[str, str]()
        with suppress(OSError):  # the cache itself may be the reason
            broken = find_broken(source, job.listing.names, cache, decode_all=True)
        if not broken:
            raise
        found = describe_broken(broken, len(job.listing.names))
        raise DataError(f"{found} in {source.path}; replace them, or move them out of the folder") from error


def list_image_folder(folder: str, test_share: float | None) -> ImageListing:
    """Return the image files. Raises DataError for a class without any, or a test image without a class."""
    source, classes = _source(folder), list_classes(folder)
    root = _train_root(source)
    files = ImageFiles.by_class([_class_images(source, root, name) for name in classes])
    part = _test_part(source)
    if part is None:
        train, test = split_by_class(files.labels, TEST_SHARE if test_share is None else test_share)
        return ImageListing(classes, _chosen(files, train), _chosen(files, test))
    if test_share is not None:
        raise RequestError(
            f"test_share={test_share} means nothing: the test images are in {source.path / part}"
        )
    for name in source.list_folders(part):
        if name not in classes:
            raise DataError(f"{source.path / part / name} is a class that {source.path / root} does not have")
    return ImageListing(
        classes, files, ImageFiles.by_class([_images(source, f"{part}/{name}") for name in classes])
    )


def _source(folder: str) -> FolderSource:
    path = Path(folder).expanduser()
    if not path.is_dir():
        where = "" if path.is_absolute() else f": {folder} is looked for in the current folder"
        script = "`python benchmarks/image_folders.py --data DIR --download`"
        how = f"; {script} makes it" if folder in PUBLISHED else ""
        raise DataError(f"there is no folder {path.absolute()}{where}{how}")
    return FolderSource(path)


def _train_root(source: FolderSource) -> str:
    """Return the folder with the classes' folders: `train`, or without it the folder itself."""
    folders = source.list_folders("")
    if TRAIN in folders:
        return TRAIN
    for name in TESTS:
        if name in folders:
            raise DataError(f"{source.path} has a folder {name!r} but no folder {TRAIN!r}: add it, or rename")
    return ""


def _test_part(source: FolderSource) -> str | None:
    folders = source.list_folders("")
    return next((name for name in TESTS if name in folders), None) if TRAIN in folders else None


def _class_images(source: FolderSource, root: str, name: str) -> list[str]:
    images = _images(source, f"{root}/{name}" if root else name)
    if not images:
        raise DataError(f"{source.path / root / name} has no images: remove it if it is no class")
    return images


def _images(source: FolderSource, folder: str) -> list[str]:
    return [f"{folder}/{name}" for name in source.list_images(folder)]


def _chosen(files: ImageFiles, indices: Tensor) -> ImageFiles:
    return ImageFiles(tuple(files.names[index] for index in indices.tolist()), files.labels[indices])
