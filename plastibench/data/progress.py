"""Progress of slow preparations: a bar on a terminal, two plain lines elsewhere, on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Advance = Callable[[int], None]
"""Called with how much was done since the last call: bytes or items."""


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
