"""Progress of slow preparations: a bar on a terminal, two plain lines elsewhere, on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

Advance = Callable[[int], None]
"""Called with how much was done since the last call: bytes or items."""
Waiting = Callable[[int], AbstractContextManager[Advance]]
"""Shows how far a number of items has come, for those who wait."""


def silently(_: int) -> AbstractContextManager[Advance]:
    """Show nothing."""
    return nullcontext(lambda _: None)


@contextmanager
def progress(label: str, total: int | None, *, count_bytes: bool = False) -> Iterator[Advance]:
    """Show how far a piece of work of `total` bytes or items has come; None is an unknown total."""
    if not sys.stderr.isatty():
        print(f"{label} ...", file=sys.stderr, flush=True)
        yield lambda done: None
        print(f"{label}: done", file=sys.stderr, flush=True)
        return
    from rich import progress as rich
    from rich.console import Console

    amount = rich.DownloadColumn() if count_bytes else rich.MofNCompleteColumn()
    columns = (rich.TextColumn("{task.description}"), rich.BarColumn(), amount, rich.TimeRemainingColumn())
    with rich.Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(label, total=total)
        yield lambda done: bar.advance(task, done)
