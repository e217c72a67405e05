"""Records made by hand, mirrored to MLflow, and what a database holds."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from plastibench.experiments.spec import Part, Spec
from plastibench.store.record import Record
from plastibench.store.run_store import Store
from plastibench.tracking import DATABASE, TrackingServer
from plastibench.tracking.payload import STAGE_METRICS
from plastibench.tracking.writer import MlflowWriter
from support.stores import a_spec
from support.workers import SANDBOX, once

WHEN = "2026-01-02T03:04:05+00:00"

# MLflow and its libraries warn of their own future and leave connections to the garbage collector.
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
        dict.fromkeys(STAGE_METRICS, 0.25 * (index + 1)) | {"index": index, "test_loss": None}
        for index in range(stages)
    ]
    provenance = {"started": WHEN, "finished": WHEN, "commit": None, "data": "d" * 64}
    return Record(spec, "done", rows, provenance)


def save(home: Path, record: Record) -> Record:
    """Put a record into a store."""
    with Store(home).open(record.spec) as writer:
        for row in record.stages:
            writer.append(row)
        return writer.finish(record.status, record.provenance)


def empty_database() -> Path:
    """Return an MLflow database without runs, made by one worker for all: its tables take seconds."""

    def make() -> str:
        folder = Path(os.environ[SANDBOX]) / "empty database"
        folder.mkdir()
        TrackingServer.from_uri(None, folder).connect()
        return str(folder / DATABASE)

    return Path(once("empty-database", make))


def mirror(home: Path, leaderboard: str, *records: Record) -> MlflowWriter:
    """Write records to the database in a home folder, as a process does that then ends."""
    writer = MlflowWriter(TrackingServer.from_uri(None, home))
    with writer.session():
        for record in records:
            writer.write_record(writer.experiment(leaderboard), record)
        writer.close()
    return writer


def contents(home: Path) -> dict[str, list[Any]]:
    """Return every row of every table of the database in a home folder."""
    with closing(sqlite3.connect(home / DATABASE)) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {
            name: sorted(database.execute(f"SELECT * FROM {name}").fetchall(), key=repr) for name in tables
        }


def select(home: Path, query: str) -> list[Any]:
    """Return the rows of an SQL query on the database in a home folder; none if there is no database yet."""
    try:
        with closing(sqlite3.connect(f"file:{home / DATABASE}?mode=ro", uri=True)) as database:
            return database.execute(query).fetchall()
    except sqlite3.OperationalError:
        return []
