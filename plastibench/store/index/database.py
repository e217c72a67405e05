"""The file of the index: an SQLite database that nothing depends on."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from plastibench.store.index.file_stats import FileStats
from plastibench.store.index.run_summary import ORIGIN
from plastibench.store.run_metrics import COSTS

FORMAT = zlib.crc32(repr((1, COSTS, ORIGIN, sys.byteorder)).encode()) & 0x7FFFFFFF
"""What the numbers in the file mean: a file of another format is made anew."""

PATIENCE_SECONDS = 5.0
"""How long another process that writes is waited for."""

FEW = 1_000
"""Runs below which each is asked for by its id."""

ELSEWHERE = (
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
)
"""Errors of the place or the moment, and not of the file."""

TABLES = """
BEGIN IMMEDIATE;
DROP TABLE IF EXISTS runs;
DROP TABLE IF EXISTS heads;
CREATE TABLE heads (key TEXT PRIMARY KEY, text TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE runs (run TEXT PRIMARY KEY, stamp TEXT NOT NULL, head TEXT NOT NULL, seed INTEGER NOT NULL,
                   status TEXT NOT NULL, packed BLOB NOT NULL, checksum INTEGER NOT NULL) WITHOUT ROWID;
PRAGMA user_version = {format};
COMMIT;
"""

Found = TypeVar("Found")


class Entry(NamedTuple):
    """A finished run as the file has it."""

    run: str
    stamp: FileStats
    head: str
    """What the seeds of a method under one setting have in common, as JSON."""
    seed: int
    status: str
    packed: bytes
    """Its accuracies and costs."""


class Cache:
    """The file, as far as it can be used: what cannot be read is not known, what cannot be written is not."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def entries(self, stamps: Mapping[str, FileStats]) -> dict[str, Entry]:
        """Return what is known of runs whose files are still the ones that were read."""
        return self._try(lambda database: _entries(database, stamps)) or {}

    def enter(self, entries: Sequence[Entry]) -> None:
        """Add entries, in place of older ones of the same runs."""
        if entries:
            self._try(lambda database: _enter(database, entries))

    def keep(self, runs: Mapping[str, FileStats]) -> None:
        """Forget all runs but these."""
        self._try(lambda database: _keep(database, runs))

    def _try(self, do: Callable[[sqlite3.Connection], Found]) -> Found | None:
        """Do something with the file; where it is damaged, remove it, so that it is made anew."""
        try:
            with closing(
                sqlite3.connect(self.path, timeout=PATIENCE_SECONDS, isolation_level=None)
            ) as database:
                if database.execute("PRAGMA user_version").fetchone() != (FORMAT,):
                    database.executescript(TABLES.format(format=FORMAT))
                return do(database)
        except (sqlite3.Error, ValueError) as error:  # ValueError: text that is none
            code = getattr(error, "sqlite_errorcode", None)
            if code is None or code & 0xFF not in ELSEWHERE:
                self._remove()
            return None

    def _remove(self) -> None:
        for path in (self.path, self.path.with_name(f"{self.path.name}-journal")):
            with suppress(OSError):
                path.unlink()


def _entries(database: sqlite3.Connection, stamps: Mapping[str, FileStats]) -> dict[str, Entry]:
    heads = {key: text for key, text in database.execute("SELECT key, text FROM heads") if key == _key(text)}
    found = {}
    for run, stamp, head, seed, status, packed, checksum in _rows(database, stamps):
        known = stamps.get(run)
        if known is None or stamp != known.text or head not in heads:
            continue
        if checksum == _checksum((run, stamp, head, seed, status), packed):
            found[run] = Entry(run, known, heads[head], seed, status, packed)
    return found


def _rows(database: sqlite3.Connection, stamps: Mapping[str, FileStats]) -> Iterator[tuple[Any, ...]]:
    """Return the rows of these runs; of all, where they are many."""
    few = len(stamps) < FEW
    where = "WHERE run IN (SELECT value FROM json_each(?))" if few else ""
    found: Iterator[tuple[Any, ...]] = database.execute(
        f"SELECT run, stamp, head, seed, status, packed, checksum FROM runs {where}",
        (json.dumps(list(stamps)),) if few else (),
    )
    return found


def _enter(database: sqlite3.Connection, entries: Sequence[Entry]) -> None:
    database.execute("BEGIN IMMEDIATE")
    keys = {text: _key(text) for text in {entry.head for entry in entries}}
    database.executemany(
        "INSERT OR REPLACE INTO heads VALUES (?, ?)", [(key, text) for text, key in keys.items()]
    )
    database.executemany(
        "INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?, ?)",
        (_row(entry, keys[entry.head]) for entry in entries),
    )
    database.execute("COMMIT")


def _row(entry: Entry, key: str) -> tuple[Any, ...]:
    values = (entry.run, entry.stamp.text, key, entry.seed, entry.status)
    return (*values, entry.packed, _checksum(values, entry.packed))


def _keep(database: sqlite3.Connection, runs: Mapping[str, FileStats]) -> None:
    gone = [(run,) for (run,) in database.execute("SELECT run FROM runs") if run not in runs]
    if gone:
        database.execute("BEGIN IMMEDIATE")
        database.executemany("DELETE FROM runs WHERE run = ?", gone)
        database.execute("DELETE FROM heads WHERE key NOT IN (SELECT head FROM runs)")
        database.execute("COMMIT")


def _key(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _checksum(values: tuple[object, ...], packed: bytes) -> int:
    return zlib.crc32(packed, zlib.crc32(repr(values).encode()))
