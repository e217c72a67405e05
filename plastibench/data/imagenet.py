"""ImageNet in the layout of ILSVRC 2012: streamed from its files, or decoded once at a small size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from plastibench.data.decoded_cache import DecodeJob, Pixels, decode_once, load_decoded
from plastibench.data.image_files import (
    FolderSource,
    ImageFiles,
    ImageListing,
    central_square,
    decode_image,
)
from plastibench.data.images import DatasetSplits, LabeledImages
from plastibench.data.streaming import StreamingDataset, default_num_workers
from plastibench.errors import DataError, count, unknown

EDITIONS = ("official", "subset")
NUM_CLASSES, NUM_TRAIN, NUM_VAL = 1000, 1_281_167, 50_000

_FOLDERS = {
    "official": ("imagenet", "ImageNet", "ILSVRC2012", "imagenet-object-localization-challenge", ""),
    "subset": ("imagenet-sample",),
}
_KAGGLE_FOLDER = "ILSVRC/Data/CLS-LOC"
_KAGGLE_LABELS = "LOC_val_solution.csv"
_LAYOUT = (
    "ImageNet is arranged as train/<wnid>/*.JPEG and val/<wnid>/*.JPEG, or as on Kaggle, with "
    f"{_KAGGLE_LABELS} for a val folder without class folders"
)


def open_imagenet(
    data: Path, size: int, device: torch.device, edition: str = "official", *, normalize: bool = True
) -> DatasetSplits:
    """Return ImageNet streamed at `size` pixels a side onto `device`; test is its val part.

    Editions are "official", 1,000 classes with all images, and "subset", at least 2 classes. Raises DataError
    if files are missing.
    """
    folder = find_imagenet(data, edition)
    listing = list_imagenet(folder, edition)

    def dataset(files: ImageFiles) -> StreamingDataset:
        index = torch.arange(len(files.names))
        return StreamingDataset(folder, files, index, size, device, default_num_workers(), normalize)

    return DatasetSplits(
        name="ImageNet",
        train=dataset(listing.train),
        test=dataset(listing.test),
        num_classes=len(listing.classes),
    )


def load_imagenet_packed(
    data: Path, cache: Path, size: int, edition: str = "official"
) -> tuple[LabeledImages, LabeledImages]:
    """Return train and test (val) images, (n, 3, size, size), decoded into `cache` at the first call."""
    return load_decoded(decode_once(cache, imagenet_job(find_imagenet(data, edition), size, edition)))


def imagenet_job(folder: Path, size: int, edition: str = "official") -> DecodeJob:
    """Return how to decode the images in `folder`: the central square, `size` pixels a side."""
    listing = list_imagenet(folder, edition)
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
    for folder in (data / name / inner for name in names for inner in ("", _KAGGLE_FOLDER)):
        if (folder / "train").is_dir() and (folder / "val").is_dir():
            return folder
    raise DataError(
        f"ImageNet is not in {data}: there is no folder {', '.join(filter(None, names))} with train and val "
        f"in it; get it from https://image-net.org/download.php ({_LAYOUT})"
    )


def list_imagenet(folder: Path, edition: str) -> ImageListing:
    """Return the files in `folder`. Raises DataError if they are not those of the edition."""
    source = FolderSource(folder)
    classes = tuple(source.list_folders("train"))
    train = _list_part(source, "train", classes, {})
    test = _list_part(source, "val", classes, _kaggle_labels(source))
    counts = len(classes), len(train.names), len(test.names)
    if edition == "official" and counts != (NUM_CLASSES, NUM_TRAIN, NUM_VAL):
        raise DataError(
            f"{folder} has {count(counts[0], 'class', 'classes')}, {counts[1]} train and {counts[2]} val "
            f"images, and ImageNet has {NUM_CLASSES}, {NUM_TRAIN} and {NUM_VAL}; complete it, or ask for "
            "edition 'subset'"
        )
    if len(classes) < 2:
        found = count(len(classes), "class", "classes")
        raise DataError(f"{folder / 'train'} has {found}; at least 2 are needed ({_LAYOUT})")
    return ImageListing(classes, train, test)


def _kaggle_labels(source: FolderSource) -> dict[str, str]:
    """Return the class of each image that lies in `val` itself, by Kaggle's list; it may lie in a parent."""
    flat = source.list_images("val")
    if not flat:
        return {}
    folders = (source.path, *source.path.absolute().parents[: _KAGGLE_FOLDER.count("/") + 1])
    path = next((folder / _KAGGLE_LABELS for folder in folders if (folder / _KAGGLE_LABELS).is_file()), None)
    if path is None:
        raise DataError(
            f"{source.path / 'val'} holds images but no class folders; {_LAYOUT}: put {_KAGGLE_LABELS} "
            "beside it, or move each image into the folder of its class"
        )
    rows = FolderSource(path.parent).read_lines(path.name)
    # A row is "ILSVRC2012_val_00000001,n01751748 111 108 431 202", an image and the boxes in it.
    wnids = dict(row[0].split(",", 1) for row in rows if "," in row[0])
    unlabeled = next((name for name in flat if Path(name).stem not in wnids), None)
    if unlabeled is not None:
        raise DataError(f"{path} has no class for {unlabeled} in {source.path / 'val'}")
    return {name: wnids[Path(name).stem] for name in flat}


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
                f"class ({_LAYOUT})"
            )
    return ImageFiles.by_class([[path for _, path in sorted(found.items())] for found in paths.values()])
