"""The state of torch in the caller's process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def keep_num_threads() -> Iterator[None]:
    """Restore torch's number of threads at the end: runs in this process set their own."""
    import torch

    num_threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(num_threads)
