"""Counts of torch's operations, each of which is about one kernel on a GPU."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode


class _Counts(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not func.is_view:
            self.found[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


def operations(work: Callable[[], object]) -> Counter[str]:
    """Return how often each operation that computes is called in `work`, forward and backward."""
    counts = _Counts()
    with counts:
        work()
    return counts.found
