"""What MLflow has of a leaderboard: its experiment, its parent, its children, and which of them are whole."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from plastibench.tracking import payload
from plastibench.tracking.bulk.reader import BulkRun, asked
from plastibench.tracking.server import PREFIX, VIEW, TrackingServer

if TYPE_CHECKING:
    from mlflow import MlflowClient

STAGES = "stages"
"""The tag of a child that says what of its curves is there."""
COLUMNS = ("test_accuracy_mean", "test_accuracy", "total_passes", "total_seconds")
LOOK = {
    "mlflow.experimentKind": "custom_model_development",
    f"mlflow.sharedViewState.{VIEW}": json.dumps(
        {
            "orderByKey": f"metrics.`{COLUMNS[0]}`",
            "orderByAsc": False,
            "selectedColumns": [*(f"metrics.`{name}`" for name in COLUMNS), "tags.`method`", "tags.`seed`"],
        }
    ),
}
"""Tags of an experiment by which MLflow's page shows the columns that a person needs, the best run first."""
ACTIVE, DELETED = 1, 2
"""MLflow's ViewType, which is not worth an import."""


@dataclass(frozen=True)
class ChildRun:
    """A run of MLflow's that stands for one of ours."""

    id: str
    start: int
    """Milliseconds since 1970; times of points count from here."""
    stages: str
    """Fingerprint of the stages that are there."""
    running: bool = True


@dataclass
class MlflowExperiment:
    """One leaderboard as MLflow has it."""

    experiment: str
    parent: str
    whole: dict[str, str] = field(default_factory=dict)
    """The child, and the digest of what it shows, of every run that is there with everything."""
    children: dict[str, ChildRun] = field(default_factory=dict)
    """By the ids of the runs that are there in part."""


class ExperimentLoader:
    """Finds leaderboards, and makes those that are missing."""

    def __init__(self, client: MlflowClient, server: TrackingServer, known: dict[str, BulkRun]) -> None:
        """Take packs that were read before, by their ids; those that are new are added."""
        self.client = client
        self.server = server
        self.known = known

    def experiment(self, name: str) -> MlflowExperiment:
        """Return a leaderboard."""
        experiment = self._experiment(name)
        board = MlflowExperiment(
            experiment, self._parent(experiment, name), children=self._unfinished(experiment)
        )
        board.whole = self._whole(board)
        return board

    def _experiment(self, leaderboard: str) -> str:
        name = f"{PREFIX}{leaderboard}"
        found = self.client.get_experiment_by_name(name)
        if found is None:
            experiment = self.client.create_experiment(name, self.server.artifact_location(leaderboard))
            found = self.client.get_experiment(experiment)
        elif found.lifecycle_stage == "deleted":  # a user's click on the page
            self.client.restore_experiment(found.experiment_id)
        for key, value in LOOK.items():
            if found.tags.get(key) != value:
                self.client.set_experiment_tag(found.experiment_id, key, value)
        return str(found.experiment_id)

    def _parent(self, experiment: str, leaderboard: str) -> str:
        for run in search(self.client, experiment, "tags.kind = 'leaderboard'"):
            return str(run.info.run_id)
        made = self.client.create_run(experiment, tags={"kind": "leaderboard"}, run_name=leaderboard)
        self.client.set_terminated(made.info.run_id)
        return str(made.info.run_id)

    def _unfinished(self, experiment: str) -> dict[str, ChildRun]:
        found = search(self.client, experiment, "tags.kind = 'run' and attributes.status != 'FINISHED'")
        return {
            run.data.tags["run_id"]: ChildRun(
                str(run.info.run_id),
                int(run.info.start_time),
                run.data.tags.get(STAGES, payload.fingerprint([])),
                run.info.status == "RUNNING",
            )
            for run in found
        }

    def _whole(self, board: MlflowExperiment) -> dict[str, str]:
        """Return what packs say of whole runs; one that a user has deleted is not there."""
        deleted = search(self.client, board.experiment, "tags.kind = 'run'", DELETED)
        gone = {run.info.run_id for run in deleted}
        self._read_packs()
        return {
            run: value
            for run, value in _said(board.experiment, self.known).items()
            if value.partition(" ")[0] not in gone and run not in board.children
        }

    def _read_packs(self) -> None:
        closed = [pack.id for pack in self.known.values() if pack.closed]
        with asked(self.server) as place:
            if place.experiment() is not None:
                self.known |= {pack.id: pack for pack in place.packs(closed)}


def _said(experiment: str, packs: Mapping[str, BulkRun]) -> dict[str, str]:
    """Return the child and the digest of every run that packs speak of; what later ones say counts."""
    head = key(experiment, "")
    return {
        name.removeprefix(head): value
        for pack in sorted(packs.values(), key=lambda one: (one.start, one.id))
        for name, value in pack.tags.items()
        if name.startswith(head)
    }


def key(experiment: str, run: str) -> str:
    """Return the tag of a pack that says that a run is whole in an experiment."""
    return f"in.{experiment}.{run}"


def search(client: MlflowClient, experiment: str, what: str, view: int = ACTIVE) -> Iterator[Any]:
    """Yield MLflow's runs that fit a filter of its own language."""
    token = None
    while True:
        page = client.search_runs([experiment], what, view, max_results=1000, page_token=token)
        yield from page
        token = page.token
        if not token:
            return
