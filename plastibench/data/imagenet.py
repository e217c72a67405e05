"""ImageNet in the layout of ILSVRC 2012: streamed from its files, or decoded once at a small size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from plastibench.data.broken_images import BrokenImages, whole_images
from plastibench.data.decoded_cache import DecodeJob, Pixels, decode_once, load_decoded
from plastibench.data.image_files import (
    FolderSource,
    ImageFiles,
    ImageListing,
    central_square,
    decode_image,
)
from plastibench.data.imagenet_labels import KAGGLE_FOLDER, LAYOUT, labels_of_flat
from plastibench.data.images import DatasetSplits, LabeledImages
from plastibench.data.streaming import StreamingDataset, default_num_workers
from plastibench.errors import DataError, count, unknown

EDITIONS = ("official", "subset")
NUM_CLASSES, NUM_TRAIN, NUM_VAL = 1000, 1_281_167, 50_000

_FOLDERS = {
    "official": ("imagenet", "ImageNet", "ILSVRC2012", "imagenet-object-localization-challenge", ""),
    "subset": ("imagenet-sample",),
}


def open_imagenet(
    data: Path,
    size: int,
    device: torch.device,
    edition: str = "official",
    *,
    normalize: bool = True,
    cache: Path | None = None,
    broken_images: BrokenImages = "refuse",
) -> DatasetSplits:
    """Return ImageNet streamed at `size` pixels a side onto `device`; test is its val part.

    Editions are "official", 1,000 classes with all images, and "subset", at least 2 classes. Raises DataError
    if files are missing. With a `cache` folder files are checked first: "refuse" raises DataError for those
    that cannot be decoded, "skip" leaves them out.
    """
    folder = find_imagenet(data, edition)
    listing = list_imagenet(folder, edition)
    left_out: tuple[str, ...] = ()
    if cache is not None:
        listing, left_out = whole_images(FolderSource(folder), listing, cache, broken_images)

    def dataset(files: ImageFiles) -> StreamingDataset:
        index = torch.arange(len(files.names))
        return StreamingDataset(folder, files, index, size, device, default_num_workers(), normalize)

    return DatasetSplits(
        name="ImageNet",
        train=dataset(listing.train),
        test=dataset(listing.test),
        num_classes=len(listing.classes),
        left_out=left_out,
    )


def load_imagenet_packed(
    data: Path,
    cache: Path,
    size: int,
    edition: str = "official",
    *,
    broken_images: BrokenImages = "refuse",
) -> tuple[LabeledImages, LabeledImages]:
    """Return train and test (val) images, (n, 3, size, size), decoded into `cache` at the first call.

    Raises DataError for files that cannot be decoded, unless "skip" leaves them out.
    """
    folder = find_imagenet(data, edition)
    listing = list_imagenet(folder, edition)
    left_out: tuple[str, ...] = ()
    if broken_images == "skip":
        listing, left_out = whole_images(FolderSource(folder), listing, cache, broken_images)
    train, test = load_decoded(decode_once(cache, imagenet_job(folder, size, listing)))
    return replace(train, left_out=left_out) if left_out else train, test


def imagenet_job(folder: Path, size: int, listing: ImageListing) -> DecodeJob:
    """Return how to decode the images in `folder`: the central square, `size` pixels a side."""
    source = FolderSource(folder)

    def decode(name: str) -> Pixels:
        image = decode_image(source.read(name), str(folder / name))
        return np.asarray(central_square(image, size)).transpose(2, 0, 1)

    return DecodeJob(
        name=f"imagenet-{size}",
        key=listing.digest(source),
        shape=(3, size, size),
        listing=listing,
        decode=decode,
    )


def find_imagenet(data: Path, edition: str) -> Path:
    """Return the folder with `train` and `val`: `data` itself or one of the usual names in it.

    Kaggle's folders may lie in between.
    """
    if edition not in EDITIONS:
        raise unknown("edition of ImageNet", edition, EDITIONS)
    names = (*(_FOLDERS["subset"] if edition == "subset" else ()), *_FOLDERS["official"])
    for folder in (data / name / inner for name in names for inner in ("", KAGGLE_FOLDER)):
        if (folder / "train").is_dir() and (folder / "val").is_dir():
            return folder
    packed = next((each for name in names for each in (data / name).glob("ILSVRC2012_img_*.tar")), None)
    way_out = "get it from https://image-net.org/download.php"
    raise DataError(
        f"ImageNet is not in {data}: there is no folder {', '.join(filter(None, names))} with train and val "
        f"in it; {f'unpack {packed} and what is in it' if packed else way_out} ({LAYOUT})"
    )


def list_imagenet(folder: Path, edition: str) -> ImageListing:
    """Return the files in `folder`. Raises DataError if they are not those of the edition."""
    source = FolderSource(folder)
    classes = tuple(source.list_folders("train"))
    packed = [name for name in source.list_files("train") if name.endswith(".tar")]
    if packed and len(classes) < NUM_CLASSES:
        raise DataError(
            f"{folder / 'train' / packed[0]} is the archive of a class: unpack each of the "
            f"{len(packed)} into a folder of its name"
        )
    train = _list_part(source, "train", classes, {})
    test = _list_part(source, "val", classes, labels_of_flat(source))
    counts = len(classes), len(train.names), len(test.names)
    if edition == "official" and counts != (NUM_CLASSES, NUM_TRAIN, NUM_VAL):
        raise DataError(
            f"{folder} has {count(counts[0], 'class', 'classes')}, {counts[1]} train and {counts[2]} val "
            f"images, and ImageNet has {NUM_CLASSES}, {NUM_TRAIN} and {NUM_VAL}; complete it, or ask for "
            "edition 'subset'"
        )
    if len(classes) < 2:
        found = count(len(classes), "class", "classes")
        raise DataError(f"{folder / 'train'} has {found}; at least 2 are needed ({LAYOUT})")
    return ImageListing(classes, train, test)


def _list_part(
    source: FolderSource, part: str, classes: Sequence[str], flat: Mapping[str, str]
) -> ImageFiles:
    """Return the images of a part, class by class. Raises DataError for a class without any.

    `flat` has the class of each image that lies in the part's folder itself.
    """
    paths: dict[str, dict[str, str]] = {wnid: {} for wnid in classes}
    for name, wnid in flat.items():
        paths.get(wnid, {})[name] = f"{part}/{name}"
    for wnid, found in paths.items():
        found.update({name: f"{part}/{wnid}/{name}" for name in source.list_images(f"{part}/{wnid}")})
        if not found:
            raise DataError(
                f"{source.path / part / wnid} has no images; remove it from train and val if it is not a "
                f"class ({LAYOUT})"
            )
    return ImageFiles.by_class([[path for _, path in sorted(found.items())] for found in paths.values()])
