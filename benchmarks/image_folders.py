"""Make the folders of images that the boards in results/suites run on, from published files.

    python benchmarks/image_folders.py --data DATA --out .
    python benchmarks/image_folders.py --data DATA --download

`cifar10-images` has the first 10,000 training images and the first 2,000 test images of CIFAR-10, read from
the unpacked `cifar-10-batches-py`. `tiny-imagenet-images` has the training images of the first 12 classes of
Tiny-ImageNet, read from an unpacked `tiny-imagenet-200`. One that is there already is left alone, one whose
files are not in DATA is left out, unless they are to be downloaded: from their publishers, 0.4 GB, verified.
"""

from __future__ import annotations

import argparse
import pickle
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from plastibench.data.cifar import CIFAR10
from plastibench.data.fetch import RemoteFile, fetch
from plastibench.data.tiny_imagenet import TINY_IMAGENET
from plastibench.errors import RequestError

CIFAR10_PARTS = {"train": ("data_batch_1", 10_000), "test": ("test_batch", 2_000)}
"""File and number of images of each part."""
CLASSES = 12


def write_cifar10(source: Path, target: Path) -> None:
    """Write images as PNG files, named by their place in their file."""
    names = _unpickled(source / "batches.meta")[b"label_names"]
    for part, (file, number) in CIFAR10_PARTS.items():
        batch = _unpickled(source / file)
        for index, (pixels, label) in enumerate(
            zip(batch[b"data"][:number], batch[b"labels"][:number], strict=True)
        ):
            folder = target / part / names[label].decode()
            folder.mkdir(parents=True, exist_ok=True)
            image = Image.fromarray(pixels.reshape(3, 32, 32).transpose(1, 2, 0))
            image.save(folder / f"{file}-{index:05d}.png")


def write_tiny_imagenet(source: Path, target: Path) -> None:
    """Copy the training images of the first classes in `wnids.txt`."""
    for name in (source / "wnids.txt").read_text(encoding="utf-8").split()[:CLASSES]:
        shutil.copytree(source / "train" / name / "images", target / name)


def _unpickled(path: Path) -> dict[bytes, Any]:
    with path.open("rb") as file:
        return pickle.load(file, encoding="bytes")  # type: ignore[no-any-return]  # noqa: S301


WRITERS = {
    "cifar10-images": ("cifar-10-batches-py/batches.meta", CIFAR10.archive, write_cifar10),
    "tiny-imagenet-images": ("tiny-imagenet-200/wnids.txt", TINY_IMAGENET, write_tiny_imagenet),
}
"""For each folder a file of its source, looked for at any depth, its archive, and what writes the folder."""


def find_source(known: str, archive: RemoteFile, data: Path, *, download: bool) -> Path | None:
    """Return the folder of a known file in DATA; None if it is not there and not to be downloaded."""
    found = next(iter(sorted(data.rglob(known))), None)
    if found is None and download:
        data.mkdir(parents=True, exist_ok=True)
        shutil.unpack_archive(fetch(archive, data), data)
        found = data / known
    return None if found is None else found.parent


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the folders; return 1 if one has no source."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path())
    parser.add_argument("--download", action="store_true", help="fetch what is not in DATA")
    options = parser.parse_args(arguments)
    return max(make(name, options.out / name, options) for name in WRITERS)


def make(name: str, target: Path, options: argparse.Namespace) -> int:
    """Make a folder; return 1 if it has no source."""
    known, archive, write = WRITERS[name]
    if target.exists():
        print(f"{target}: is there already")
        return 0
    try:
        source = find_source(known, archive, options.data, download=options.download)
    except RequestError as error:
        print(f"{target}: {error}", file=sys.stderr)
        return 1
    if source is None:
        print(f"{target}: no {known} in {options.data}; --download fetches it", file=sys.stderr)
        return 1
    unfinished = target.with_name(f"{name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    write(source, unfinished)
    unfinished.rename(target)
    print(f"{target}: {sum(path.is_file() for path in target.rglob('*'))} images")
    return 0


if __name__ == "__main__":
    sys.exit(main())
