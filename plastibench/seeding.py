"""Random streams: separate, named, and a function of their name alone.

Nothing that one part of a run draws can move what another part sees: the split does not depend on
the model, a method that draws noise does not change the order of the batches, and every method
meets the same split, the same order and the same initial weights under one seed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def derive_seed(*name: str | int) -> int:
    """Return the seed of a stream, a number of 63 bits that depends on every part of its name."""
    text = "/".join(str(part) for part in name)
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def generator(*name: str | int) -> torch.Generator:
    """Return a fresh CPU generator of a stream. Draws are made on the CPU, so devices share them."""
    return torch.Generator().manual_seed(derive_seed(*name))


@contextmanager
def seeded_init(*name: str | int) -> Iterator[None]:
    """Give torch's global CPU stream, from which layers initialize themselves, to a named stream."""
    with torch.random.fork_rng(devices=[]):
        # Models are built on the CPU and then moved: only its stream is touched and restored.
        torch.default_generator.manual_seed(derive_seed(*name))
        yield
