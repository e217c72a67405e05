"""What MLflow has of a leaderboard: its experiment, the parent run, and the children."""

from __future__ import annotations

import platform
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from plastibench.tracking.bulk.reader import Tags, read_batches
from plastibench.tracking.page_view import VIEW_TAG, experiment_link, view_of_runs
from plastibench.tracking.payload import stages_digest
from plastibench.tracking.server import TrackingServer, ensure_experiment

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

PREFIX = "plastibench/"
"""Of the names of experiments: other projects may share the server."""
STAGES = "stages"
"""The tag of a child with the digest of its stages."""
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development", VIEW_TAG: view_of_runs()}
"""Set if missing. With them MLflow's page shows the columns that matter, and the best first."""
AGGREGATE = "aggregate"
"""The kind of an MLflow run that shows a row of a leaderboard's tables: never taken for a run."""
AGGREGATE_KEY, AGGREGATE_DIGEST = "aggregate", "digest"
"""Tags of an aggregate: which row it is, and its version with a digest of all that it shows."""
ACTIVE_ONLY, DELETED_ONLY = 1, 2
"""MLflow's ViewType, which is not worth an import."""


@dataclass(frozen=True)
class ChildRun:
    """An unfinished MLflow run that shows one of ours."""

    id: str
    start_time: int
    """Milliseconds since 1970."""
    stages: str = stages_digest([])
    """Digest of the stages that MLflow has."""
    is_running: bool = True

    @property
    def num_stages(self) -> int:
        """Return the number of stages that MLflow has."""
        return int(self.stages.partition(":")[0])


@dataclass(frozen=True)
class AggregateRun:
    """An MLflow run that shows a row of a leaderboard's tables."""

    id: str
    name: str
    version: int
    """How often it was written."""
    digest: str
    """Of all that it shows."""
    metrics: frozenset[str]


@dataclass(frozen=True)
class MlflowExperiment:
    """What MLflow has of a leaderboard."""

    id: str
    parent: str
    """The MLflow run that its children belong to."""
    finished: dict[str, str] = field(default_factory=dict)
    """The id of the MLflow run and the digest of all that it shows, separated by a space, by run id."""
    unfinished: dict[str, ChildRun] = field(default_factory=dict)
    """By run id."""
    aggregates: dict[str, AggregateRun] = field(default_factory=dict)
    """Those that this home folder has written, by their keys."""
    tags: dict[str, str] = field(default_factory=dict)
    """Those of the experiment itself."""

    def tag_key(self, run: str) -> str:
        """Return the key of a batch's tag with the finished child of a run."""
        return f"in.{self.id}.{run}"


class ExperimentLoader:
    """Loads the experiments of leaderboards, and creates missing ones."""

    def __init__(self, client: MlflowClient, server: TrackingServer) -> None:
        self.client = client
        self.server = server

    def load(self, leaderboard: str) -> MlflowExperiment:
        """Return the experiment of a leaderboard."""
        stored = ensure_experiment(self.client, self.server, f"{PREFIX}{leaderboard}", leaderboard)
        experiment_id = str(stored.experiment_id)
        for key, value in EXPERIMENT_TAGS.items():
            if key not in stored.tags:
                self.client.set_experiment_tag(experiment_id, key, value)
        experiment = MlflowExperiment(
            experiment_id,
            self._parent(experiment_id, leaderboard),
            unfinished=self._unfinished(experiment_id),
            aggregates=self._aggregates(experiment_id),
            tags={**EXPERIMENT_TAGS, **stored.tags},
        )
        experiment.finished.update(self._finished(experiment))
        return experiment

    def _parent(self, experiment: str, leaderboard: str) -> str:
        for run in search(self.client, experiment, "tags.kind = 'leaderboard'"):
            return str(run.info.run_id)
        parent = self.client.create_run(experiment, tags={"kind": "leaderboard"}, run_name=leaderboard)
        self.client.set_terminated(parent.info.run_id)
        return str(parent.info.run_id)

    def _unfinished(self, experiment: str) -> dict[str, ChildRun]:
        query = "tags.kind = 'run' and attributes.status != 'FINISHED'"
        return {
            run.data.tags["run_id"]: ChildRun(
                id=str(run.info.run_id),
                start_time=int(run.info.start_time),
                stages=run.data.tags.get(STAGES, stages_digest([])),
                is_running=run.info.status == "RUNNING",
            )
            for run in search(self.client, experiment, query)
        }

    def _aggregates(self, experiment: str) -> dict[str, AggregateRun]:
        """Return the aggregates of this home folder; another one has its own, of its own runs."""
        query = f"tags.kind = '{AGGREGATE}'"
        return {
            run.data.tags[AGGREGATE_KEY]: AggregateRun(
                id=str(run.info.run_id),
                name=str(run.info.run_name),
                version=int(run.data.tags[AGGREGATE_DIGEST].partition(":")[0]),
                digest=run.data.tags[AGGREGATE_DIGEST].partition(":")[2],
                metrics=frozenset(run.data.metrics),
            )
            for run in search(self.client, experiment, query)
            if run.data.tags.get("home") == home_tag(self.server)
        }

    def _finished(self, experiment: MlflowExperiment) -> dict[str, str]:
        """Return the finished children that batches name, but those that a user has deleted."""
        deleted = {
            run.info.run_id for run in search(self.client, experiment.id, "tags.kind = 'run'", DELETED_ONLY)
        }
        prefix = experiment.tag_key("")
        children = {
            key: value for tags in self._batches for key, value in tags.items() if key.startswith(prefix)
        }
        return {
            run: child
            for key, child in children.items()
            if (run := key.removeprefix(prefix)) not in experiment.unfinished
            and child.partition(" ")[0] not in deleted
        }

    @cached_property
    def _batches(self) -> list[Tags]:
        return read_batches(self.server)


def search(client: MlflowClient, experiment: str, query: str, view: int = ACTIVE_ONLY) -> Iterator[Run]:
    """Yield the MLflow runs that match a filter in MLflow's query language."""
    token = None
    while True:
        page = client.search_runs([experiment], query, view, max_results=1000, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def leaderboard_links(server: TrackingServer) -> dict[str, str]:
    """Return the link of each leaderboard in an SQLite database by its name, without importing mlflow."""
    sql = "SELECT name, experiment_id FROM experiments WHERE lifecycle_stage = 'active' ORDER BY name"
    try:
        experiments = server.query(sql) if server.sqlite_path is not None else []
    except sqlite3.Error:
        return {}
    return {
        name.removeprefix(PREFIX): experiment_link(experiment)
        for name, experiment in experiments
        if name.startswith(PREFIX)
    }


def home_tag(server: TrackingServer) -> str:
    """Return what tells the aggregates of a home folder from those of others that use the same server."""
    return f"{platform.node()}:{server.home.resolve()}"
