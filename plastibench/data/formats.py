"""The published image sets as bytes: one loader each, from the data folder the user names.

A loader takes what lies in the folder under its usual name, refuses it when it is not the
published file, and downloads it when it is not there.
"""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from plastibench.data.cifar import CIFAR10, CIFAR100, load_cifar
from plastibench.data.fetch import RemoteFile, obtain
from plastibench.data.images import Images
from plastibench.data.tiny import load_tiny_imagenet
from plastibench.errors import DataError

__all__ = [
    "load_cifar10",
    "load_cifar100",
    "load_fashion_mnist",
    "load_svhn",
    "load_tiny_imagenet",
    "read_idx",
    "read_mat",
]

_SVHN_SITE = "http://ufldl.stanford.edu/housenumbers/"
_SVHN_PLACES = ("svhn", "SVHN", "")
SVHN = {
    "train": RemoteFile(
        name="train_32x32.mat",
        urls=(f"{_SVHN_SITE}train_32x32.mat",),
        digest="md5:e26dedcc434d2e4c54c9b2d4a06d8373",
        size=182040794,
    ),
    "test": RemoteFile(
        name="test_32x32.mat",
        urls=(f"{_SVHN_SITE}test_32x32.mat",),
        digest="md5:eb5a983be6a315427106f1b164d9cef3",
        size=64275384,
    ),
}

_FASHION_SITES = (
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
)
# Not the data folder itself: MNIST's files have the same names.
_FASHION_PLACES = ("FashionMNIST/raw", "fashion-mnist", "fashion_mnist")
FASHION_MNIST = {
    name: RemoteFile(
        name=f"{name}-ubyte.gz",
        urls=tuple(f"{site}{name}-ubyte.gz" for site in _FASHION_SITES),
        digest=f"md5:{md5}",
    )
    for name, md5 in {
        "train-images-idx3": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1": "25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3": "bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1": "bb300cfdad3c16e7a12a480ee83cd310",
    }.items()
}


def load_cifar10(data: Path, edition: str = "official") -> tuple[Images, Images]:
    """Return CIFAR-10: 50,000 train and 10,000 test images, (3, 32, 32), 10 classes.

    Editions are "official", and "restored": pixels of the training part exact, 23 test images
    re-encoded. Raises `DataError` for files that are not of the edition, or not to be had.
    """
    return load_cifar(CIFAR10, data, edition)


def load_cifar100(data: Path) -> tuple[Images, Images]:
    """Return CIFAR-100: 50,000 train and 10,000 test images, (3, 32, 32), 100 fine classes."""
    return load_cifar(CIFAR100, data, "official")


def load_svhn(data: Path) -> tuple[Images, Images]:
    """Return SVHN, cropped digits: 73,257 train and 26,032 test images, (3, 32, 32), 10 classes."""
    train, test = (read_mat(obtain(SVHN[part], data, _SVHN_PLACES)) for part in ("train", "test"))
    return train, test


def load_fashion_mnist(data: Path) -> tuple[Images, Images]:
    """Return Fashion-MNIST: 60,000 train and 10,000 test images, (1, 28, 28), 10 classes."""
    train, test = (_read_idx_pair(data, part) for part in ("train", "t10k"))
    return train, test


def read_mat(path: Path) -> Images:
    """Return the images of a MATLAB file with `X`, (32, 32, 3, n) bytes, and `y`, digits 1 to 10.

    10 stands for the digit 0. Raises `DataError` for any other file.
    """
    from scipy.io import loadmat

    try:
        content: Mapping[str, Any] = loadmat(path, variable_names=["X", "y"])
        pixels, digits = content["X"], content["y"].reshape(-1)
    # What loadmat raises for a damaged file depends on where the damage is.
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise DataError(f"{path} is not a whole MATLAB file of SVHN ({reason}); get it again") from error
    well_formed = pixels.ndim == 4 and pixels.dtype == np.uint8 and pixels.shape[2:] == (3, len(digits))
    if not well_formed or not np.isin(digits, np.arange(1, 11)).all():
        raise DataError(f"{path} holds {pixels.shape} pixels and {len(digits)} labels, which is not SVHN")
    images = np.ascontiguousarray(pixels.transpose(3, 2, 0, 1))
    return Images(torch.from_numpy(images), torch.from_numpy(digits.astype(np.int64) % 10))


def _read_idx_pair(data: Path, part: str) -> Images:
    """Return the images of one part of Fashion-MNIST, named as its files are."""
    image_file, label_file = FASHION_MNIST[f"{part}-images-idx3"], FASHION_MNIST[f"{part}-labels-idx1"]
    pixels = read_idx(obtain(image_file, data, _FASHION_PLACES))
    labels = read_idx(obtain(label_file, data, _FASHION_PLACES))
    return Images(
        torch.from_numpy(pixels).unsqueeze(1).contiguous(), torch.from_numpy(labels.astype(np.int64))
    )


def read_idx(path: Path) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return the array of bytes in a gzipped IDX file; raise `DataError` for any other file."""
    try:
        with gzip.open(path) as stream:
            content = stream.read()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} is not a whole gzip file ({error}); remove it and get it again") from error
    # Two zero bytes, the type (8: unsigned byte), the number of axes, then each length in 4 bytes.
    num_axes = content[3] if len(content) > 3 else 0
    start = 4 + 4 * num_axes
    lengths = tuple(int.from_bytes(content[at : at + 4], "big") for at in range(4, start, 4))
    if content[:3] != b"\0\0\x08" or not num_axes or len(content) - start != math.prod(lengths):
        raise DataError(f"{path} is not an IDX file of bytes; remove it and get it again")
    return np.frombuffer(content, np.uint8, offset=start).reshape(lengths).copy()
