"""Tiny-ImageNet: from the archive as downloaded, or from its unpacked folder."""

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
from plastibench.errors import DataError, count, unknown

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
"""By edition, where the unpacked folder may be in the data folder, which may also be the folder itself."""

_TRAIN_PER_CLASS, _TEST_PER_CLASS = 500, 50
_SIDE = 64
_ANNOTATIONS = "val_annotations.txt"


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
    found = count(len(listing.classes), "class", "classes")
    if edition == "official" and len(listing.classes) != num_classes:
        raise DataError(
            f"{source.path} has {found}, and Tiny-ImageNet has {num_classes}; "
            "ask for edition 'subset', or move the folder away to download the archive"
        )
    if len(listing.classes) < 2:
        raise DataError(f"{source.path} has {found}; at least 2 are needed")
    return load_decoded(decode_once(cache, _decode_job(source, listing, edition)))


def _find_source(data: Path, edition: str, archive: RemoteFile) -> FileSource:
    """Return the archive or else the unpacked folder in `data`; download the archive if official."""
    path = find_file(archive, data) if edition == "official" else None
    if path is None:
        for name in (*FOLDERS[edition], ""):
            # The list of classes may be gone, but without it any folder has this layout.
            if (data / name / "wnids.txt").is_file() or (name and (data / name / "train").is_dir()):
                return FolderSource(data / name)
        if edition == "subset":
            raise DataError(
                f"there is no Tiny-ImageNet folder in {data} ({' or '.join(FOLDERS[edition])}, "
                "with train and val in it); put it there, or ask for edition 'official', which is downloaded"
            )
        path = fetch(archive, data)
    return ZipSource(path, archive.digest)


def list_tiny_imagenet(source: FileSource, root: str = "") -> ImageListing:
    """Return the images below `root`, a prefix with a final slash or nothing.

    They are in the original layout, or each class of a part has a folder, which may have a folder `images`
    in it or around it. Raises DataError if a class has not its 500 train and 50 val images.
    """
    classes = _list_classes(source, root)
    annotated = _annotated(source, f"{root}val")
    train = [_class_images(source, f"{root}train", wnid) for wnid in classes]
    test = [annotated.get(wnid) or _class_images(source, f"{root}val", wnid) for wnid in classes]
    for part, images, expected in (("train", train, _TRAIN_PER_CLASS), ("val", test, _TEST_PER_CLASS)):
        for wnid, names in zip(classes, images, strict=True):
            _check_count(source, f"{part} of {wnid}", len(names), expected)
    return ImageListing(classes, ImageFiles.by_class(train), ImageFiles.by_class(test))


def _list_classes(source: FileSource, root: str) -> tuple[str, ...]:
    """Return the classes, sorted: those in `wnids.txt`, or without that file the folders in `train`."""
    if "wnids.txt" in source.list_files(root.rstrip("/")):
        return tuple(sorted({words[0] for words in source.read_lines(f"{root}wnids.txt")}))
    return tuple(source.list_folders(f"{root}train"))


def _annotated(source: FileSource, part: str) -> dict[str, list[str]]:
    """Return the sorted images of each class in the original layout, which lists them in a text file.

    Without that file images may be left from before they were sorted into folders of classes.
    """
    present = source.list_images(f"{part}/images")
    if not present or (
        source.list_folders(part) != ["images"] and _ANNOTATIONS not in source.list_files(part)
    ):
        return {}
    lines = source.read_lines(f"{part}/{_ANNOTATIONS}")
    wnids = {words[0]: words[1] for words in lines if words[1:]}
    found: dict[str, list[str]] = {}
    for name in present:
        found.setdefault(wnids.get(name, ""), []).append(f"{part}/images/{name}")
    return found


def _class_images(source: FileSource, part: str, wnid: str) -> list[str]:
    """Return the sorted images of a class that has a folder; none if it has none."""
    for folder in (f"{part}/{wnid}/images", f"{part}/{wnid}", f"{part}/images/{wnid}"):
        names = source.list_images(folder)
        if names:
            return [f"{folder}/{name}" for name in names]
    return []


def _check_count(source: FileSource, what: str, number: int, expected: int) -> None:
    """Raise DataError if a class is not complete."""
    if number != expected:
        raise DataError(
            f"{source.path} has {count(number, 'image')} in {what}, and Tiny-ImageNet has {expected}; "
            f"unpack {TINY_IMAGENET.name} again"
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
        key=listing.digest(source),
        shape=(3, _SIDE, _SIDE),
        listing=listing,
        decode=decode,
    )
