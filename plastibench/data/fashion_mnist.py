"""Fashion-MNIST in its published IDX files (arXiv 1708.07747)."""

import gzip
import math
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

from plastibench.data.fetch import RemoteFile, copies, fetch, find_file
from plastibench.data.images import LabeledImages
from plastibench.data.kept import kept
from plastibench.errors import DataError

_SITES = (
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
)
_SUBFOLDERS = ("FashionMNIST/raw", "FashionMNIST", "fashion-mnist", "fashion_mnist", "fashionmnist")
_MD5 = {
    "train-images-idx3": ("8d4fb7e6c68d591d4c3dfef9ec88bf0d", "f4a8712d7a061bf5bd6d2ca38dc4d50a"),
    "train-labels-idx1": ("25c81989df183df01b3e8a0aad5dffbe", "9018921c3c673c538a1fc5bad174d6f9"),
    "t10k-images-idx3": ("bef4ecab320f06d8554ea6380940ec79", "8181f5470baa50b63fa0f6fddb340f0a"),
    "t10k-labels-idx1": ("bb300cfdad3c16e7a12a480ee83cd310", "15d484375f8d13e6eb1aabb0c3f46965"),
}
"""Of the published file, and of what is in it."""


def published_file(name: str, packed_md5: str, unpacked_md5: str) -> RemoteFile:
    """Return a file such as train-images-idx3-ubyte.gz, whose unpacked copies may have a dot for a dash."""
    unpacked = f"{name}-ubyte"
    return RemoteFile(
        name=f"{unpacked}.gz",
        urls=tuple(f"{site}{unpacked}.gz" for site in _SITES),
        digest=f"md5:{packed_md5}",
        unpacked=dict.fromkeys((unpacked, unpacked.replace("-idx", ".idx")), f"md5:{unpacked_md5}"),
    )


FASHION_MNIST = {name: published_file(name, *digests) for name, digests in _MD5.items()}


def load_fashion_mnist(
    data: Path, files: Mapping[str, RemoteFile] = FASHION_MNIST
) -> tuple[LabeledImages, LabeledImages]:
    """Return Fashion-MNIST: 60,000 train and 10,000 test images, (1, 28, 28), 10 classes."""

    def load(part: str) -> LabeledImages:
        pixels = read_idx(_find(files[f"{part}-images-idx3"], data))
        labels = read_idx(_find(files[f"{part}-labels-idx1"], data))
        images = torch.from_numpy(pixels).unsqueeze(1).contiguous()
        return LabeledImages(images, torch.from_numpy(labels.astype(np.int64)))

    places = [path for file in files.values() for path in copies(file, data, ("", *_SUBFOLDERS))]
    digests = tuple(file.digest for file in files.values())
    return kept(digests, places, lambda: (load("train"), load("t10k")))


def _find(file: RemoteFile, data: Path) -> Path:
    """Return a verified copy, in the data folder itself or one of the usual folders in it, or download it."""
    with suppress(DataError):  # MNIST's files have the same names, and may be in the data folder itself
        path = find_file(file, data)
        if path is not None:
            return path
    return fetch(file, data, _SUBFOLDERS)


def read_idx(path: Path) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return the array of bytes in an IDX file, gzipped or not. Raises DataError for any other file."""
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
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
