"""Durations as text, and the progress of slow preparations: a bar on a terminal, two log lines elsewhere."""

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import IO

logger = logging.getLogger(__name__)

Advance = Callable[[int], None]
"""Called with the number of bytes or items done since the last call."""
Progress = Callable[[int], AbstractContextManager[Advance]]
"""Shows the progress of work on a number of items."""
TIMED = {"timed": True}
"""As `extra` of a log record: it tells of a moment, so a log file gets the time of day with it."""


def can_redraw(stream: IO[str]) -> bool:
    """Return whether lines on a stream can be replaced: it is a terminal that can move its cursor."""
    return stream.isatty() and os.environ.get("TERM", "").casefold() not in ("dumb", "unknown")


def describe_seconds(seconds: float) -> str:
    """Return an estimated duration in its two largest units: 45 s, 12 min, 2 h 40 min, 3 days 5 h."""
    minutes = round(seconds / 60)
    hours = round(minutes / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    if minutes < 90:
        return f"{minutes} min"
    if hours < 48:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{hours // 24} days {hours % 24} h"


def no_progress(_: int) -> AbstractContextManager[Advance]:
    """Show nothing."""
    return nullcontext(lambda _: None)


@contextmanager
def progress(label: str, total: int | None, *, count_bytes: bool = False) -> Iterator[Advance]:
    """Show the progress of work on `total` bytes or items; None if the total is unknown.

    Nothing is shown unless the logger "plastibench" is enabled for INFO, as it is on the command line.
    """
    if not (can_redraw(sys.stderr) and logger.isEnabledFor(logging.INFO)):
        logger.info("%s ...", label)
        yield lambda done: None
        logger.info("%s: done", label)
        return
    from rich import progress as rich  # late: rich is not needed, nor always installed, where data are read
    from rich.console import Console

    amount = rich.DownloadColumn() if count_bytes else rich.MofNCompleteColumn()
    columns = (rich.TextColumn("{task.description}"), rich.BarColumn(), amount, rich.TimeRemainingColumn())
    with rich.Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(label, total=total)
        yield lambda done: bar.advance(task, done)
