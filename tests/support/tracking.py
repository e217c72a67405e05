"""What tests of the mirror share: records made by hand, and what a database holds."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from plastibench.experiments.spec import Part, Spec
from plastibench.store.record import Record
from plastibench.store.run_store import Store
from plastibench.tracking import DATABASE
from plastibench.tracking.payload import CURVES
from support.stores import a_spec

WHEN = "2026-01-02T03:04:05+00:00"

# MLflow and what it builds on warn of their own future and leave connections to the garbage collector.
QUIET = (
    "ignore::DeprecationWarning",
    "ignore::FutureWarning",
    "ignore::PendingDeprecationWarning",
    "ignore::ResourceWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
)


def a_record(seed: int, stages: int = 3, **settings: Any) -> Record:
    """Return a finished run with round numbers."""
    spec = a_spec(seed)
    part = Part("mine", {"strength": 0.123456789, **settings}, "code")
    spec = Spec(spec.task, spec.model, spec.recipe, part, seed, "cpu", 1)
    rows = [
        dict.fromkeys(CURVES, 0.25 * (index + 1)) | {"index": index, "test_loss": None}
        for index in range(stages)
    ]
    origin = {"started": WHEN, "finished": WHEN, "commit": None, "data": "d" * 64}
    return Record(spec, "done", rows, origin)


def finish(home: Path, record: Record) -> Record:
    """Put a record into a store."""
    with Store(home).open(record.spec) as attempt:
        for row in record.stages:
            attempt.append(row)
        return attempt.finish(record.status, record.provenance)


def contents(home: Path) -> dict[str, list[Any]]:
    """Return every row of every table of the database in a home folder."""
    with closing(sqlite3.connect(home / DATABASE)) as store:
        tables = [name for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: sorted(store.execute(f"SELECT * FROM {name}").fetchall(), key=repr) for name in tables}


def values(home: Path, query: str) -> list[Any]:
    """Return what an SQL query finds in the database in a home folder; nothing where it is not there yet."""
    try:
        with closing(sqlite3.connect(f"file:{home / DATABASE}?mode=ro", uri=True)) as store:
            return store.execute(query).fetchall()
    except sqlite3.OperationalError:
        return []
