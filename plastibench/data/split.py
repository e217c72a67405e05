"""Divide data without a test part of their own."""

import torch
from torch import Tensor

from plastibench.errors import DataError
from plastibench.seeding import generator


def split_by_class(labels: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Return the indices of the training examples and of the test examples, in their order.

    A share of each class is drawn for the test, the same examples whenever labels, shape (n,), and share are
    the same; at least one example of each class is for training. Raises DataError if every example of more
    than two has a class of its own.
    """
    numbers = labels.unique()
    if len(numbers) == len(labels) > 2:
        raise DataError(
            f"each of the {len(labels):,} examples is a class of its own, so none is left for the test: a "
            "label that is a number to be predicted is no class"
        )
    draw = generator("data", "test")
    test = torch.zeros(len(labels), dtype=torch.bool)
    for number in numbers:
        own = (labels == number).nonzero().flatten()
        size = min(len(own) - 1, round(len(own) * share))
        test[own[torch.randperm(len(own), generator=draw)[:size]]] = True
    return (~test).nonzero().flatten(), test.nonzero().flatten()
