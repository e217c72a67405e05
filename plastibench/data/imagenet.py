"""ImageNet in the layout of ILSVRC 2012: streamed from its files, or packed once at a small size."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from plastibench.data.archives import FolderSource, decode
from plastibench.data.decoded_cache import Pixels, Recipe, cached, load
from plastibench.data.image_folder import Files, StreamingDataset, usual_workers
from plastibench.data.images import DatasetSplits, LabeledImages
from plastibench.errors import DataError, unknown

if TYPE_CHECKING:
    from PIL import Image

EDITIONS = ("official", "subset")
NUM_CLASSES, NUM_TRAIN, NUM_VAL = 1000, 1_281_167, 50_000

_FOLDERS = {"official": ("imagenet", "ILSVRC2012", "ILSVRC/Data/CLS-LOC"), "subset": ("imagenet-sample",)}
_SUFFIXES = (".jpeg", ".jpg", ".png")
_LAYOUT = "ImageNet is arranged as train/<wnid>/*.JPEG and val/<wnid>/*.JPEG"


@dataclass(frozen=True, eq=False)
class Listing:
    """The files of both parts; classes are numbered in the order of their names."""

    classes: tuple[str, ...]
    train: Files
    test: Files
    """The val part."""

    def digest(self) -> str:
        """Return a SHA-256, hexadecimal, over names and labels; pixels would take an hour to read."""
        state = hashlib.sha256()
        for files in (self.train, self.test):
            state.update("\n".join(files.names).encode())
            state.update(files.labels.numpy().astype("<i8").data)
        return state.hexdigest()


def open_imagenet(
    data: Path, size: int, device: torch.device, edition: str = "official", *, normalize: bool = True
) -> DatasetSplits:
    """Return ImageNet streamed at `size` pixels a side onto `device`.

    Editions are "official", 1,000 classes with every image there, and "subset", at least 2 classes.
    Raises `DataError` when the files are not there, or not all.
    """
    listing = list_imagenet(find_imagenet(data, edition), edition)

    def part(files: Files) -> StreamingDataset:
        index = torch.arange(len(files.names))
        return StreamingDataset(files, index, size, device, usual_workers(), normalize)

    return DatasetSplits(
        name="ImageNet",
        train=part(listing.train),
        test=part(listing.test),
        num_classes=len(listing.classes),
        checksum=listing.digest(),
    )


def load_imagenet_packed(
    data: Path, cache: Path, size: int, edition: str = "official"
) -> tuple[LabeledImages, LabeledImages]:
    """Return train and test (val) images, (n, 3, size, size), packed in `cache` at the first call."""
    return load_packed(pack(find_imagenet(data, edition), size, cache, edition))


def pack(folder: Path, size: int, cache: Path, edition: str = "official") -> Path:
    """Decode every image below `folder` once and return where the bytes are kept, inside `cache`.

    The shorter side becomes `size` pixels, and the central square is kept. Work that was
    interrupted is continued. Raises `DataError` for a damaged image, or no room.
    """
    listing = list_imagenet(folder, edition)
    names = (*listing.train.names, *listing.test.names)
    source = FolderSource(folder)

    def pixels(number: int) -> Pixels:
        image = decode(source.read(names[number]), str(folder / names[number]))
        return np.asarray(_central(image, size)).transpose(2, 0, 1)

    recipe = Recipe(
        name=f"imagenet-{size}",
        key=hashlib.sha256(f"{listing.digest()} {size}".encode()).hexdigest(),
        shape=(3, size, size),
        classes=listing.classes,
        labels={"train": listing.train.labels.tolist(), "test": listing.test.labels.tolist()},
        decode=pixels,
    )
    return cached(cache, recipe)


def load_packed(path: Path) -> tuple[LabeledImages, LabeledImages]:
    """Return train and test images of a pack, mapped from disk; raise `DataError` when it is damaged."""
    parts = load(path)
    return parts["train"], parts["test"]


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


def list_imagenet(folder: Path, edition: str) -> Listing:
    """Return the files below `folder`; raise `DataError` when they are not those of the edition."""
    source = FolderSource(folder)
    classes = tuple(name for name in source.names("train") if (folder / "train" / name).is_dir())
    if any(name.startswith("ILSVRC2012_val_") for name in source.names("val")):
        raise DataError(
            f"{folder / 'val'} is flat; {_LAYOUT}: move each image into the folder of its class by the "
            "ground truth of the development kit ILSVRC2012_devkit_t12.tar.gz"
        )
    train, test = _files(source, "train", classes), _files(source, "val", classes)
    found = len(classes), len(train.names), len(test.names)
    if edition == "official" and found != (NUM_CLASSES, NUM_TRAIN, NUM_VAL):
        raise DataError(
            f"{folder} has {found[0]} classes, {found[1]} train and {found[2]} val images, and ImageNet has "
            f"{NUM_CLASSES}, {NUM_TRAIN} and {NUM_VAL}; complete it, or ask for edition 'subset'"
        )
    if len(classes) < 2:
        raise DataError(f"{folder / 'train'} has {len(classes)} classes; at least 2 are needed ({_LAYOUT})")
    return Listing(classes, train, test)


def _files(source: FolderSource, part: str, classes: Sequence[str]) -> Files:
    """Return the images of a part, class by class; raise `DataError` for a class without any."""
    names: list[str] = []
    labels: list[int] = []
    for label, wnid in enumerate(classes):
        found = [name for name in source.names(f"{part}/{wnid}") if name.lower().endswith(_SUFFIXES)]
        if not found:
            raise DataError(f"{source.where / part / wnid} has no images ({_LAYOUT})")
        names += [f"{part}/{wnid}/{name}" for name in found]
        labels += [label] * len(found)
    return Files(source.where, tuple(names), torch.tensor(labels, dtype=torch.int64))


def _central(image: Image.Image, size: int) -> Image.Image:
    """Return the central square of an image whose shorter side is brought to `size` pixels."""
    from PIL import Image

    # Rounded as torchvision's Resize and CenterCrop round.
    shorter = min(image.size)
    width, height = (size * side // shorter for side in image.size)
    resized = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - size) / 2), round((height - size) / 2)
    return resized.crop((left, top, left + size, top + size))
