"""ImageNet in the layout of ILSVRC 2012: streamed from its files, or decoded once at a small size."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from plastibench.data.decoded_cache import DecodeJob, Pixels, decode_once, load_decoded
from plastibench.data.image_files import FolderSource, ImageFiles, ImageListing, decode_image
from plastibench.data.images import DatasetSplits, LabeledImages
from plastibench.data.streaming import StreamingDataset, default_num_workers
from plastibench.errors import DataError, unknown

if TYPE_CHECKING:
    from PIL import Image

EDITIONS = ("official", "subset")
NUM_CLASSES, NUM_TRAIN, NUM_VAL = 1000, 1_281_167, 50_000

_FOLDERS = {"official": ("imagenet", "ILSVRC2012", "ILSVRC/Data/CLS-LOC"), "subset": ("imagenet-sample",)}
_SUFFIXES = (".jpeg", ".jpg", ".png")
_LAYOUT = "ImageNet is arranged as train/<wnid>/*.JPEG and val/<wnid>/*.JPEG"


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
        checksum=_listing_digest(listing),
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
        return np.asarray(_central_square(image, size)).transpose(2, 0, 1)

    return DecodeJob(
        name=f"imagenet-{size}",
        key=hashlib.sha256(f"{_listing_digest(listing)} {size}".encode()).hexdigest(),
        shape=(3, size, size),
        listing=listing,
        decode=decode,
    )


def find_imagenet(data: Path, edition: str) -> Path:
    """Return the folder with `train` and `val`: one of the usual names in `data`, or `data` itself."""
    if edition not in EDITIONS:
        raise unknown("edition of ImageNet", edition, EDITIONS)
    names = _FOLDERS["official"] if edition == "official" else (*_FOLDERS["subset"], *_FOLDERS["official"])
    for name in (*names, ""):
        if (data / name / "train").is_dir() and (data / name / "val").is_dir():
            return data / name
    raise DataError(
        f"ImageNet is not in {data}: there is no folder {', '.join(names)} with train and val in it; get it "
        f"from https://image-net.org/download.php ({_LAYOUT})"
    )


def list_imagenet(folder: Path, edition: str) -> ImageListing:
    """Return the files in `folder`. Raises DataError if they are not those of the edition."""
    source = FolderSource(folder)
    classes = tuple(name for name in source.list_names("train") if (folder / "train" / name).is_dir())
    if any(name.startswith("ILSVRC2012_val_") for name in source.list_names("val")):
        raise DataError(
            f"{folder / 'val'} is flat; {_LAYOUT}: move each image into the folder of its class, according "
            "to the ground truth in the development kit ILSVRC2012_devkit_t12.tar.gz"
        )
    train, test = _list_part(source, "train", classes), _list_part(source, "val", classes)
    counts = len(classes), len(train.names), len(test.names)
    if edition == "official" and counts != (NUM_CLASSES, NUM_TRAIN, NUM_VAL):
        raise DataError(
            f"{folder} has {counts[0]} classes, {counts[1]} train and {counts[2]} val images, and ImageNet "
            f"has {NUM_CLASSES}, {NUM_TRAIN} and {NUM_VAL}; complete it, or ask for edition 'subset'"
        )
    if len(classes) < 2:
        raise DataError(f"{folder / 'train'} has {len(classes)} classes; at least 2 are needed ({_LAYOUT})")
    return ImageListing(classes, train, test)


def _list_part(source: FolderSource, part: str, classes: Sequence[str]) -> ImageFiles:
    """Return the images of a part, class by class. Raises DataError for a class without any."""
    pairs: list[tuple[str, int]] = []
    for label, wnid in enumerate(classes):
        folder = f"{part}/{wnid}"
        names = [name for name in source.list_names(folder) if name.lower().endswith(_SUFFIXES)]
        if not names:
            raise DataError(f"{source.path / folder} has no images ({_LAYOUT})")
        pairs += [(f"{folder}/{name}", label) for name in names]
    return ImageFiles.from_pairs(pairs)


def _listing_digest(listing: ImageListing) -> str:
    """Return a SHA-256, hexadecimal, of names and labels; reading the pixels would take an hour."""
    state = hashlib.sha256()
    for files in (listing.train, listing.test):
        state.update("\n".join(files.names).encode())
        state.update(files.labels.numpy().astype("<i8").data)
    return state.hexdigest()


def _central_square(image: Image.Image, size: int) -> Image.Image:
    """Return the central square of an image whose shorter side is resized to `size` pixels."""
    from PIL import Image

    # Rounded like torchvision's Resize and CenterCrop.
    shorter = min(image.size)
    width, height = (size * side // shorter for side in image.size)
    resized = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - size) / 2), round((height - size) / 2)
    return resized.crop((left, top, left + size, top + size))
