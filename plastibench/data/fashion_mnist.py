"""Fashion-MNIST in its published IDX files (arXiv 1708.07747)."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from plastibench.data.fetch import RemoteFile, fetch
from plastibench.data.images import LabeledImages
from plastibench.errors import DataError

_SITES = (
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
)
# Not the data folder itself: MNIST's files have the same names.
_SUBFOLDERS = ("FashionMNIST/raw", "fashion-mnist", "fashion_mnist")

FASHION_MNIST = {
    name: RemoteFile(
        name=f"{name}-ubyte.gz",
        urls=tuple(f"{site}{name}-ubyte.gz" for site in _SITES),
        digest=f"md5:{md5}",
    )
    for name, md5 in {
        "train-images-idx3": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1": "25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3": "bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1": "bb300cfdad3c16e7a12a480ee83cd310",
    }.items()
}


def load_fashion_mnist(
    data: Path, files: Mapping[str, RemoteFile] = FASHION_MNIST
) -> tuple[LabeledImages, LabeledImages]:
    """Return Fashion-MNIST: 60,000 train and 10,000 test images, (1, 28, 28), 10 classes."""

    def load(part: str) -> LabeledImages:
        pixels = read_idx(fetch(files[f"{part}-images-idx3"], data, _SUBFOLDERS))
        labels = read_idx(fetch(files[f"{part}-labels-idx1"], data, _SUBFOLDERS))
        images = torch.from_numpy(pixels).unsqueeze(1).contiguous()
        return LabeledImages(images, torch.from_numpy(labels.astype(np.int64)))

    return load("train"), load("t10k")


def read_idx(path: Path) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return the array of bytes in a gzipped IDX file. Raises DataError for any other file."""
    try:
        with gzip.open(path) as stream:
            content = stream.read()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"{path} is not a complete gzip file ({error}); remove it and get it again"
        ) from error
    # Two zero bytes, the type (8: unsigned byte), the number of axes, then each length in 4 bytes.
    num_axes = content[3] if len(content) > 3 else 0
    start = 4 + 4 * num_axes
    lengths = tuple(int.from_bytes(content[at : at + 4], "big") for at in range(4, start, 4))
    if content[:3] != b"\0\0\x08" or not num_axes or len(content) - start != math.prod(lengths):
        raise DataError(f"{path} is not an IDX file of bytes; remove it and get it again")
    return np.frombuffer(content, np.uint8, offset=start).reshape(lengths).copy()
