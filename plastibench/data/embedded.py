"""Real data that an installed package brings along: no download, no file to look for."""

from __future__ import annotations

import torch

from plastibench.data.images import Images
from plastibench.streams import generator

NUM_TEST_DIGITS = 600


def load_digits() -> tuple[Images, Images]:
    """Return scikit-learn's handwritten digits as (train, test): 1,197 and 600 images of shape (1, 8, 8).

    The part to test on is drawn once and for all; it does not depend on a run's seed.
    """
    from sklearn.datasets import load_digits as bundled

    found = bundled()
    # The values are counts of 0 to 16 dark pixels in a 4x4 block.
    x = torch.from_numpy(found.images).mul(255 / 16).round().to(torch.uint8).unsqueeze(1)
    y = torch.from_numpy(found.target).long()
    order = torch.randperm(len(y), generator=generator("digits", "test"))
    test, train = order[:NUM_TEST_DIGITS], order[NUM_TEST_DIGITS:]
    return Images(x[train], y[train]), Images(x[test], y[test])
