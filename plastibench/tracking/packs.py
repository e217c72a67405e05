"""Which runs the mirror holds, in few large rows: packs, which can be read at once where runs cannot.

MLflow takes a millisecond and more to give one run. A pack is a run of an experiment of its own whose tags
speak of many runs. It is written to by one process, and closed when that ends; later packs count more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from plastibench.tracking.picture import batches
from plastibench.tracking.rest import post
from plastibench.tracking.server import Server

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "plastibench-records"
KIND = "records"
MOST = 200
"""Runs of a pack: so that one is never much to read again."""
TAGS_A_CALL = 100
PACKS_A_PAGE = 20
PAGE_SECONDS = 60.0


@dataclass(frozen=True)
class Pack:
    """What one process said of runs."""

    id: str
    closed: bool
    """Whether nothing more will be said in it."""
    tags: Mapping[str, str]


def read(server: Server, known: Collection[str] = ()) -> list[Pack]:
    """Return the packs but those `known` by their ids, in the order in which they were begun.

    Asks the database or the server directly, without mlflow. Raises what they raise.
    """
    found = _from_database(server, known) if server.is_database else _from_server(server, known)
    return list(found)


def _from_server(server: Server, known: Collection[str]) -> Iterator[Pack]:
    wanted = {"filter": f"name = '{EXPERIMENT}'", "max_results": 1, "view_type": "ACTIVE_ONLY"}
    experiments = post(server.uri, "experiments/search", wanted).get("experiments", [])
    if not experiments:
        return
    kind = f"tags.kind = '{KIND}'"
    others = ", ".join(f"'{name}'" for name in sorted(known))
    body: dict[str, Any] = {
        "experiment_ids": [experiments[0]["experiment_id"]],
        "filter": f"{kind} and attributes.run_id NOT IN ({others})" if known else kind,
        "max_results": PACKS_A_PAGE,
        "order_by": ["attributes.start_time ASC", "attributes.run_id ASC"],
    }
    while True:
        page = post(server.uri, "runs/search", body, PAGE_SECONDS)
        for run in page.get("runs", []):
            tags = {tag["key"]: tag.get("value", "") for tag in run["data"].get("tags", [])}
            yield Pack(run["info"]["run_id"], run["info"]["status"] == "FINISHED", tags)
        body["page_token"] = page.get("next_page_token")
        if not body["page_token"]:
            return


def _from_database(server: Server, known: Collection[str]) -> Iterator[Pack]:
    """Read MLflow's tables `experiments`, `runs` and `tags`, which are the same in all its databases."""
    import sqlalchemy

    runs = sqlalchemy.text(
        "SELECT runs.run_uuid, runs.status FROM runs JOIN experiments USING (experiment_id) "
        "WHERE experiments.name = :name AND experiments.lifecycle_stage = 'active' "
        "AND runs.lifecycle_stage = 'active' ORDER BY runs.start_time, runs.run_uuid"
    )
    tags = sqlalchemy.text("SELECT key, value FROM tags WHERE run_uuid = :run")
    engine = sqlalchemy.create_engine(server.uri)
    try:
        with engine.connect() as database:
            for run, status in database.execute(runs, {"name": EXPERIMENT}).fetchall():
                if run not in known:
                    said = dict(map(tuple, database.execute(tags, {"run": run}).fetchall()))
                    yield Pack(run, status == "FINISHED", said)
    finally:
        engine.dispose()


class Writer:
    """The pack of this process; begun with the first thing that is said."""

    def __init__(self, client: MlflowClient, server: Server) -> None:
        self.client = client
        self.server = server
        self.run: str | None = None
        self.count = 0

    def say(self, tags: Mapping[str, str]) -> None:
        """Add the tags that speak of one run."""
        from mlflow.entities import RunTag

        if self.run is None:
            made = self.client.create_run(self._experiment(), tags={"kind": KIND}, run_name=KIND)
            self.run = made.info.run_id
        for batch in batches([RunTag(name, value) for name, value in tags.items()], TAGS_A_CALL):
            self.client.log_batch(self.run, tags=batch)
        self.count += 1
        if self.count >= MOST:
            self.close()

    def close(self) -> None:
        """Say that nothing more is said in this pack."""
        if self.run is not None:
            self.client.set_terminated(self.run)
        self.run, self.count = None, 0

    def _experiment(self) -> str:
        found = self.client.get_experiment_by_name(EXPERIMENT)
        if found is None:
            return str(self.client.create_experiment(EXPERIMENT, self.server.artifacts(KIND)))
        if found.lifecycle_stage == "deleted":
            self.client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)
