"""Finished runs as tables need them: from the index if it is current, else from the runs' own files.

An entry of the index is used only if the run's file still has the size, times and inode that it had when it
was read. The index can be deleted at any time, and everything works without it.
"""

import os
import sys
import time
from collections import UserList
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from functools import cached_property, partial
from glob import glob
from pathlib import Path
from typing import NamedTuple

from plastibench.console import Advance, no_progress, progress
from plastibench.store.index.index_file import (
    INDEX_FILE,
    FileStats,
    IndexEntry,
    pack_metrics,
    read_index,
    unpack_metrics,
    write_index,
)
from plastibench.store.index.run_group import RunGroup
from plastibench.store.record import Record, StageRow
from plastibench.store.run_store import Store
from plastibench.system.cpu import num_cores

SETTLE_SECONDS = 2.0
"""A file younger than this is not indexed: it could change again within one tick of its clock."""
BATCH_SIZE = 1_000
"""Runs that a process reads at a time."""
PARALLEL_THRESHOLD = 2_000
"""Number of runs from which several processes pay: starting one takes as long as reading some hundreds."""


class ReadBatch(NamedTuple):
    """Runs that were read from their files."""

    size: int
    entries: dict[str, IndexEntry]
    damaged: dict[Path, str]
    """Damaged run files with the reason."""


class StoredStages(UserList[StageRow]):
    """The stages of a run, read from its file at first use."""

    def __init__(self, store: Store, run: str) -> None:
        self.store = store
        self.run = run

    @cached_property
    def data(self) -> list[StageRow]:  # type: ignore[override]  # read-only
        """Return the stages. Raises ValueError if the file is gone or damaged."""
        record = self.store.read(self.run)
        if record is None:
            raise ValueError(f"run {self.run} was removed or damaged after it was listed")
        return list(record.stages)


def load_summaries(
    store: Store,
    ids: Sequence[str] | None = None,
    *,
    settle_seconds: float = SETTLE_SECONDS,
    parallel_threshold: int = PARALLEL_THRESHOLD,
    batch_size: int = BATCH_SIZE,
) -> list[Record]:
    """Return finished runs without reading their stages: all, sorted by id, or those of `ids` in their order.

    They are the runs that `Store.records` and `Store.finished` return, and damaged ones are noted in the same
    place.
    """
    stats = file_stats(store.home, ids)
    if not stats:
        return []
    path = store.home / INDEX_FILE
    indexed = read_index(path)
    entries = {run: indexed[run] for run in stats if run in indexed and indexed[run].stats == stats[run]}
    saved = dict(entries if ids is None else indexed)
    missing = [(run, stats[run]) for run in stats if run not in entries]
    latest_ns = (time.time() - settle_seconds) * 1e9
    try:
        with reading_progress(len(missing), parallel_threshold) as advance:
            for batch in _read_batches(store.home, missing, parallel_threshold, batch_size):
                store.damaged |= batch.damaged
                entries |= batch.entries
                saved |= {
                    run: entry for run, entry in batch.entries.items() if entry.stats.changed_ns < latest_ns
                }
                advance(batch.size)
    finally:  # also if interrupted
        if saved != indexed:
            write_index(path, saved)
    return list(_records(store, {run: entries[run] for run in stats if run in entries}))


def reading_progress(num_runs: int, threshold: int = PARALLEL_THRESHOLD) -> AbstractContextManager[Advance]:
    """Show the progress of reading runs if they are many."""
    return (
        progress(f"reading {num_runs:,} runs", num_runs) if num_runs >= threshold else no_progress(num_runs)
    )


def _records(store: Store, entries: Mapping[str, IndexEntry]) -> Iterator[Record]:
    groups = {text: RunGroup.from_json(text) for text in {entry.group for entry in entries.values()}}
    for run, entry in entries.items():
        group = groups[entry.group]
        metrics = unpack_metrics(entry.metrics, entry.seed, group.hardware)
        yield group.record(entry.seed, entry.status, metrics, StoredStages(store, run))


def file_stats(home: Path, ids: Iterable[str] | None = None) -> dict[str, FileStats]:
    """Return the stats of all run files, sorted by run, or of those of `ids`; missing files are left out."""
    # Strings, not paths: a Path for each of 100,000 runs takes seconds.
    if ids is None:
        ids = sorted(name[3:] for name in glob("??/*", root_dir=home / "runs"))  # noqa: PTH207
    stats = {run: _stat(f"{home}/runs/{run[:2]}/{run}/run.json") for run in ids}
    return {run: each for run, each in stats.items() if each is not None}


def _stat(path: str) -> FileStats | None:
    try:
        stat = os.stat(path)  # noqa: PTH116
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:  # in the future: never indexed
        return FileStats(0, sys.maxsize, sys.maxsize, 0)
    return FileStats(stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)


def _read_batches(
    home: Path, missing: Sequence[tuple[str, FileStats]], parallel_threshold: int, size: int
) -> Iterator[ReadBatch]:
    """Yield runs as their files have them now, with the stats that the files had before."""
    batches = [missing[start : start + size] for start in range(0, len(missing), size)]
    num_done = 0
    if len(missing) >= parallel_threshold:
        with suppress(OSError, RuntimeError):  # no processes can be started here, or one was killed
            for batch in _read_parallel(home, batches):
                num_done += 1
                yield batch
    yield from map(partial(read_batch, home), batches[num_done:])


def _read_parallel(home: Path, batches: Sequence[Sequence[tuple[str, FileStats]]]) -> Iterator[ReadBatch]:
    from concurrent.futures import ProcessPoolExecutor

    from plastibench.system.processes import spawn_context

    pool = ProcessPoolExecutor(num_cores(), mp_context=spawn_context())
    try:
        yield from pool.map(partial(read_batch, home), batches)
    finally:
        pool.shutdown(cancel_futures=True)


def read_batch(home: Path, runs: Sequence[tuple[str, FileStats]]) -> ReadBatch:
    """Read runs, each given with the stats of its file; those removed meanwhile are left out."""
    store, entries = Store(home), {}
    for run, stats in runs:
        record = store.read(run)
        if record is None:
            continue
        try:
            group, metrics = RunGroup.to_json(record), pack_metrics(record)
        except (KeyError, TypeError, ValueError) as error:
            store.mark_damaged(run, error)
        else:
            entries[run] = IndexEntry(stats, group, record.spec.seed, record.status, metrics)
    return ReadBatch(len(runs), entries, store.damaged)
