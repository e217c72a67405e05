"""Read packs from a database or a server, directly: importing mlflow alone would take seconds."""

from __future__ import annotations

import errno
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from plastibench.tracking.rest import post
from plastibench.tracking.server import TrackingServer, configure_mlflow

if TYPE_CHECKING:
    import sqlalchemy

EXPERIMENT = "plastibench-records"
KIND = "records"
PACKS_A_PAGE = 20
PAGE_SECONDS = 60.0


@dataclass(frozen=True)
class BulkRun:
    """What one process said of runs."""

    id: str
    start: int
    """Milliseconds since 1970; what later packs say counts more."""
    closed: bool
    """Whether nothing more will be said in it."""
    tags: Mapping[str, str]


class BulkReader(Protocol):
    """A place that can be asked for packs."""

    def experiment(self) -> str | None:
        """Return what tells the experiment of packs from any other, also from a later one of its name."""

    def packs(self, known: Collection[str]) -> Iterator[BulkRun]:
        """Yield the packs but those `known` by their ids."""

    def deleted(self, known: Collection[str]) -> set[str]:
        """Return which of the known packs were deleted since."""


@contextmanager
def asked(server: TrackingServer) -> Iterator[BulkReader]:
    """Give a place to ask. Raises what the database or the server raises."""
    configure_mlflow()
    if not server.is_database:
        yield _Rest(server.uri)
        return
    if server.sqlite_path is not None and not server.sqlite_path.is_file():
        raise FileNotFoundError(errno.ENOENT, "there is no such database", str(server.sqlite_path))
    import sqlalchemy

    engine = sqlalchemy.create_engine(server.uri)
    try:
        with engine.connect() as connection:
            yield _Database(connection)
    finally:
        engine.dispose()


class _Rest:
    """MLflow's server."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._id: str | None = None

    def experiment(self) -> str | None:
        wanted = {"filter": f"name = '{EXPERIMENT}'", "max_results": 1, "view_type": "ACTIVE_ONLY"}
        found = post(self.uri, "experiments/search", wanted).get("experiments", [])
        if not found:
            return None
        self._id = found[0]["experiment_id"]
        return f"{self._id} of {found[0].get('creation_time')}"

    def packs(self, known: Collection[str]) -> Iterator[BulkRun]:
        others = f" and attributes.run_id NOT IN ({_listed(known)})" if known else ""
        for run in self._search(f"tags.kind = '{KIND}'{others}", "ACTIVE_ONLY"):
            info, tags = run["info"], run["data"].get("tags", [])
            said = {tag["key"]: tag.get("value", "") for tag in tags}
            yield BulkRun(info["run_id"], int(info["start_time"]), info["status"] == "FINISHED", said)

    def deleted(self, known: Collection[str]) -> set[str]:
        if not known:
            return set()
        words = f"tags.kind = '{KIND}' and attributes.run_id IN ({_listed(known)})"
        return {run["info"]["run_id"] for run in self._search(words, "DELETED_ONLY")}

    def _search(self, words: str, view: str) -> Iterator[dict[str, Any]]:
        body = {
            "experiment_ids": [self._id],
            "filter": words,
            "run_view_type": view,
            "max_results": PACKS_A_PAGE,
            "order_by": ["attributes.start_time ASC"],
        }
        while True:
            page = post(self.uri, "runs/search", body, PAGE_SECONDS)
            yield from page.get("runs", [])
            if not page.get("next_page_token"):
                return
            body["page_token"] = page["next_page_token"]


def _listed(names: Collection[str]) -> str:
    return ", ".join(f"'{name}'" for name in sorted(names))


class _Database:
    """The tables `experiments`, `runs` and `tags`, which are the same in all of MLflow's databases."""

    def __init__(self, connection: sqlalchemy.Connection) -> None:
        self.connection = connection
        self._id: int | None = None

    def experiment(self) -> str | None:
        found = self._rows(
            "SELECT experiment_id, creation_time FROM experiments "
            "WHERE name = :name AND lifecycle_stage = 'active'",
            name=EXPERIMENT,
        )
        if not found:
            return None
        self._id = found[0][0]
        return f"{self._id} of {found[0][1]}"

    def packs(self, known: Collection[str]) -> Iterator[BulkRun]:
        for run, start, status in self._runs():
            if run not in known:
                tags = self._rows("SELECT key, value FROM tags WHERE run_uuid = :run", run=run)
                yield BulkRun(run, int(start), status == "FINISHED", dict(map(tuple, tags)))

    def deleted(self, known: Collection[str]) -> set[str]:
        return set(known) - {run for run, _, _ in self._runs()}

    def _runs(self) -> list[Any]:
        return self._rows(
            "SELECT run_uuid, start_time, status FROM runs "
            "WHERE experiment_id = :experiment AND lifecycle_stage = 'active' ORDER BY start_time",
            experiment=self._id,
        )

    def _rows(self, query: str, **values: object) -> list[Any]:
        import sqlalchemy

        return list(self.connection.execute(sqlalchemy.text(query), values).fetchall())
