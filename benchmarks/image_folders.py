"""Make the folders of images that the boards in results/suites run on, from published files.

    python benchmarks/image_folders.py --data DATA --out .

`cifar10-images` has the first 10,000 training images and the first 2,000 test images of CIFAR-10, read from
the unpacked `cifar-10-batches-py`. `tiny-imagenet-images` has the training images of the first 12 classes of
Tiny-ImageNet, read from an unpacked `tiny-imagenet-200`. One that is there already is left alone, one whose
files are not in DATA is left out.
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
    "cifar10-images": ("cifar-10-batches-py/batches.meta", write_cifar10),
    "tiny-imagenet-images": ("tiny-imagenet-200/wnids.txt", write_tiny_imagenet),
}
"""For each folder a file of its source, looked for at any depth, and what writes it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the folders; return 1 if one has no source."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path())
    options = parser.parse_args(arguments)
    status = 0
    for name, (known, write) in WRITERS.items():
        target = options.out / name
        source = next(iter(sorted(options.data.rglob(known))), None)
        if target.exists():
            print(f"{target}: is there already")
        elif source is None:
            print(f"{target}: no {known} in {options.data}", file=sys.stderr)
            status = 1
        else:
            unfinished = target.with_name(f"{name}.unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            write(source.parent, unfinished)
            unfinished.rename(target)
            print(f"{target}: {sum(path.is_file() for path in target.rglob('*'))} images")
    return status


if __name__ == "__main__":
    sys.exit(main())
