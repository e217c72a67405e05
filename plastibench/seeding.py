"""Named random streams, each a function of its name alone.

What one part of a run draws does not affect the others: the split does not depend on the model, a method
that draws noise does not change the order of the batches, and with one seed all methods have the same
split, the same order and the same initial weights.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def derive_seed(*name: str | int) -> int:
    """Return the seed of a stream: 63 bits that depend on every part of its name."""
    text = "/".join(str(part) for part in name)
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def generator(*name: str | int) -> torch.Generator:
    """Return a fresh generator of a stream, on the CPU so that all devices draw the same numbers."""
    return torch.Generator().manual_seed(derive_seed(*name))


@contextmanager
def seeded_init(*name: str | int) -> Iterator[None]:
    """Seed torch's global CPU generator, which initializes layers, with a named stream; then restore it."""
    with torch.random.fork_rng(devices=[]):
        # Models are built on the CPU and then moved, so only its generator is used.
        torch.default_generator.manual_seed(derive_seed(*name))
        yield
