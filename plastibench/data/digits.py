"""Digits: real data that come with an installed package, without a download."""

from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any

import numpy as np
import torch

from plastibench.data.images import LabeledImages
from plastibench.seeding import generator

NUM_TEST_DIGITS = 600

DIGITS_FILE = "sklearn/datasets/data/digits.csv.gz"
"""In the distribution of scikit-learn: one row per image, with its 64 pixels and its label."""


def load_digits(file: str = DIGITS_FILE) -> tuple[LabeledImages, LabeledImages]:
    """Return scikit-learn's handwritten digits as (train, test): 1,197 and 600 images of shape (1, 8, 8).

    The test part is a fixed random draw; it does not depend on the seed of a run. `file` is relative to the
    installed package.
    """
    rows = torch.from_numpy(_read_rows(file))
    # The values are numbers of dark pixels, 0 to 16, in a 4x4 block.
    x = rows[:, :-1].mul(255 / 16).round().to(torch.uint8).view(-1, 1, 8, 8)
    y = rows[:, -1].long()
    order = torch.randperm(len(y), generator=generator("digits", "test"))
    test, train = order[:NUM_TEST_DIGITS], order[NUM_TEST_DIGITS:]
    return LabeledImages(x[train], y[train]), LabeledImages(x[test], y[test])


@cache
def _read_rows(file: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the rows, shape (1797, 65), read once. Importing scikit-learn instead would take 2 s."""
    try:
        return np.loadtxt(str(distribution("scikit-learn").locate_file(file)), delimiter=",")
    except (PackageNotFoundError, OSError):  # a version that keeps the file elsewhere
        from sklearn.datasets import load_digits as load_from_sklearn

        digits = load_from_sklearn()
        return np.column_stack([digits.data, digits.target])
