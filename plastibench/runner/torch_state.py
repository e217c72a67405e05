"""What a run may not leave changed for the runs that follow in its process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def torch_kept(tell: Callable[[str], None]) -> Iterator[None]:
    """Set back what torch holds for all of the process at the end of a run.

    `tell` is called with each thing that the run has left changed: the runs that follow do not see it.
    """
    states = _torch_states()
    before = {name: get() for name, (get, _) in states.items()}
    try:
        yield
    finally:
        for name, (get, set_) in states.items():
            after = get()
            if after != before[name]:
                set_(before[name])
                tell(f"torch's {name} was {before[name]} before this run and {after} after it: set back")


def _torch_states() -> dict[str, tuple[Callable[[], Any], Callable[[Any], object]]]:
    """Return how to get and to set what torch holds for a process, by name."""
    import torch

    return {
        "default dtype": (torch.get_default_dtype, torch.set_default_dtype),
        "default device": (torch.get_default_device, torch.set_default_device),
        "number of threads": (torch.get_num_threads, torch.set_num_threads),
        "gradient mode": (torch.is_grad_enabled, torch.set_grad_enabled),
        "precision of products in fp32": (
            torch.get_float32_matmul_precision,
            torch.set_float32_matmul_precision,
        ),
    }
