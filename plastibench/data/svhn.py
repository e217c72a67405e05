"""SVHN, cropped digits, in its published MATLAB files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from plastibench.data.fetch import RemoteFile, copies, fetch
from plastibench.data.images import LabeledImages
from plastibench.data.kept import kept
from plastibench.errors import DataError, count

_SITE = "http://ufldl.stanford.edu/housenumbers/"
_SUBFOLDERS = ("svhn", "SVHN", "")

SVHN = {
    "train": RemoteFile(
        name="train_32x32.mat",
        urls=(f"{_SITE}train_32x32.mat",),
        digest="md5:e26dedcc434d2e4c54c9b2d4a06d8373",
        size=182040794,
    ),
    "test": RemoteFile(
        name="test_32x32.mat",
        urls=(f"{_SITE}test_32x32.mat",),
        digest="md5:eb5a983be6a315427106f1b164d9cef3",
        size=64275384,
    ),
}


def load_svhn(data: Path, files: Mapping[str, RemoteFile] = SVHN) -> tuple[LabeledImages, LabeledImages]:
    """Return SVHN, cropped digits: 73,257 train and 26,032 test images, (3, 32, 32), 10 classes."""

    def decode() -> tuple[LabeledImages, LabeledImages]:
        train, test = (read_mat(fetch(files[part], data, _SUBFOLDERS)) for part in ("train", "test"))
        return train, test

    places = [path for file in files.values() for path in copies(file, data, _SUBFOLDERS)]
    return kept(tuple(file.digest for file in files.values()), places, decode)


def read_mat(path: Path) -> LabeledImages:
    """Return the images of a MATLAB file with `X`, (32, 32, 3, n) bytes, and `y`, digits 1 to 10.

    10 stands for the digit 0. Raises DataError for any other file.
    """
    from scipy.io import loadmat

    try:
        content: Mapping[str, Any] = loadmat(path, variable_names=["X", "y"])
        pixels, digits = content["X"], content["y"].reshape(-1)
    except Exception as error:  # loadmat raises different errors for different damage
        reason = f"{type(error).__name__}: {error}"
        raise DataError(f"{path} is not a complete MATLAB file of SVHN ({reason}); get it again") from error
    well_formed = pixels.ndim == 4 and pixels.dtype == np.uint8 and pixels.shape[2:] == (3, len(digits))
    if not well_formed or not np.isin(digits, np.arange(1, 11)).all():
        raise DataError(
            f"{path} holds {pixels.shape} pixels and {count(len(digits), 'label')}, which is not SVHN"
        )
    images = np.ascontiguousarray(pixels.transpose(3, 2, 0, 1))
    return LabeledImages(torch.from_numpy(images), torch.from_numpy(digits.astype(np.int64) % 10))
