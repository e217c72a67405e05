"""Finished runs read from their own files and put in short; by several processes where they are many."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import NamedTuple

from plastibench.console import Advance, no_progress, progress
from plastibench.store.index.database import Entry
from plastibench.store.index.file_stats import FileStats
from plastibench.store.index.run_summary import head, pack
from plastibench.store.run_store import Store
from plastibench.system.cpu import num_cores

BATCH = 1_000
"""Runs that are read, and entered in an index, at once."""
MANY = 2_000
"""Runs from which other processes pay: to start one takes as long as to read some hundreds."""

Wanted = tuple[str, FileStats]


class Batch(NamedTuple):
    """What came of reading some runs."""

    looked_at: int
    entries: list[Entry]
    damaged: dict[Path, str]
    """Files that cannot be believed, with the reason."""


def reading_progress(count: int) -> AbstractContextManager[Advance]:
    """Show how far the reading of so many runs has come, where they are many."""
    return progress(f"reading {count:,} runs", count) if count >= MANY else no_progress(count)


def batches(home: Path, wanted: Sequence[Wanted]) -> Iterator[Batch]:
    """Yield runs as their files have them now, each with the stamp that its file had before."""
    parts = [wanted[start : start + BATCH] for start in range(0, len(wanted), BATCH)]
    done = 0
    if len(wanted) >= MANY:
        with suppress(OSError, RuntimeError):  # no other processes can be had here, or one was killed
            for found in _side_by_side(home, parts):
                done += 1
                yield found
    yield from (read(home, part) for part in parts[done:])


def _side_by_side(home: Path, parts: Sequence[Sequence[Wanted]]) -> Iterator[Batch]:
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    with ProcessPoolExecutor(num_cores(), mp_context=get_context("spawn")) as pool:
        try:
            yield from pool.map(read, [home] * len(parts), parts)
        finally:
            pool.shutdown(cancel_futures=True)


def read(home: Path, wanted: Sequence[Wanted]) -> Batch:
    """Return some runs from their own files; those that are gone by now are left out."""
    store = Store(home)
    entries = [entry for run, stamp in wanted if (entry := _read(store, run, stamp))]
    return Batch(len(wanted), entries, store.damaged)


def _read(store: Store, run: str, stamp: FileStats) -> Entry | None:
    """Return a run from its own file; None where that is damaged, which is noted."""
    record = store.read(run)
    if record is None:
        return None
    try:
        packed = pack(record)
    except (KeyError, TypeError, ValueError) as error:
        store.note_damage(run, error)
        return None
    return Entry(run, stamp, head(record), record.spec.seed, record.status, packed)
