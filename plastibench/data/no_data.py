"""Data that nobody may read: whoever looks at them is told why."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NoReturn, Self

from plastibench.data.dataset import Batch, Dataset
from plastibench.errors import RequestError

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class NoData(Dataset):
    """Stands for data that are not there, or not for the one who looks: each use raises RequestError."""

    def __init__(self, message: str) -> None:
        self._message = message

    def _refuse(self) -> NoReturn:
        raise RequestError(self._message)

    def __getattr__(self, name: str) -> NoReturn:
        """Refuse what a data set of another class may have, such as its tensors."""
        if name.startswith("_"):  # what Python looks for in any object, to copy it for instance
            raise AttributeError(name)
        self._refuse()

    @property
    def shape(self) -> tuple[int, ...]:
        """Refuse."""
        self._refuse()

    def __len__(self) -> int:  # noqa: PLE0303 - it raises
        self._refuse()

    def __getitem__(self, part: slice) -> Self:
        self._refuse()

    def take(self, indices: Tensor) -> Self:
        """Refuse."""
        self._refuse()

    def batches(
        self, size: int, order: Tensor | None = None, augment: torch.Generator | None = None
    ) -> Iterator[Batch]:
        """Refuse."""
        self._refuse()

    def with_labels(self, labels: Tensor) -> Self:
        """Refuse."""
        self._refuse()

    def with_pixels(self, order: Tensor) -> Self:
        """Refuse."""
        self._refuse()
