"""The checksum of decoded images, as records of runs have it."""

from __future__ import annotations

import hashlib

import torch

from plastibench.data.augment import Compose
from plastibench.data.dataset import InMemoryDataset
from plastibench.data.images import LabeledImages


def checksum(*parts: LabeledImages) -> str:
    """Return the checksum of the parts of a data set."""
    one, state = torch.ones(()), hashlib.sha256()
    for part in parts:
        InMemoryDataset(part.x, part.y, one, one, Compose()).update_digest(state)
    return state.hexdigest()
