"""The digits that need no file of a user's."""

from __future__ import annotations

import pytest
import torch
from sklearn import datasets
from support.commands import child

from plastibench.data.digits import DIGITS_FILE, load_digits
from plastibench.data.images import checksum

CHECKSUM = "0cf54f0753488fb7f1ed1cb34f4615ca668e8174dd658c5c16e1afbba018d4a8"
"""Of the data, in every record of every published run on digits."""


def test_digits_are_scikit_learns_and_none_is_lost() -> None:
    train, test = load_digits()
    assert (len(train), len(test)) == (1197, 600)
    assert sorted(set(train.y.tolist())) == list(range(10))
    found, ours = datasets.load_digits(), torch.cat([train.x, test.x]).squeeze(1)
    assert torch.unique(ours).tolist() == [round(255 * level / 16) for level in range(17)]
    theirs = torch.from_numpy(found.images).mul(255 / 16).round().to(torch.uint8)
    labels = torch.cat([train.y, test.y])

    def as_set(images: torch.Tensor, y: list[int]) -> list[tuple[bytes, int]]:
        return sorted(zip((image.numpy().tobytes() for image in images), y, strict=True))

    assert as_set(ours, labels.tolist()) == as_set(theirs, found.target.tolist())


@pytest.mark.parametrize("file", [DIGITS_FILE, "sklearn/somewhere/else.csv.gz"])
def test_digits_have_the_same_bytes_wherever_they_are_found(file: str) -> None:
    assert checksum(*load_digits(file)) == CHECKSUM


@pytest.mark.heavy
def test_scikit_learn_is_not_imported_for_them() -> None:
    source = (
        "from plastibench.api import load_digits; load_digits(); import sys; print('sklearn' in sys.modules)"
    )
    assert child("-c", source).stdout.strip() == "False"
