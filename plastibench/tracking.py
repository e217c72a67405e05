"""A mirror of the store in MLflow; nothing else imports mlflow, and no run needs it."""

from __future__ import annotations

import importlib.util
import logging
import os
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plastibench.errors import RequestError
from plastibench.labels import setting_label
from plastibench.settings import show
from plastibench.store import Record

if TYPE_CHECKING:
    from mlflow import MlflowClient

DATABASE = "mlflow.db"
PREFIX = "plastibench/"
LONGEST_VALUE = 5_000
"""MLflow takes 6,000 characters of a parameter and 8,000 of a tag."""

CURVES = (
    "test_accuracy",
    "train_accuracy",
    "test_loss",
    "steps",
    "train_passes",
    "remedy_passes",
    "train_seconds",
)
"""Metrics with one point a stage. Few names: MLflow's page gets slow with many."""


def available() -> bool:
    """Return whether mlflow is installed."""
    return importlib.util.find_spec("mlflow") is not None


def uri(home: Path) -> str:
    """Return the address of the mirror in a home folder."""
    path = (home / DATABASE).resolve()
    if "?" in str(path):
        raise RequestError(f"MLflow cannot use a path with a question mark: {path}")
    return f"sqlite:///{path}"


def leaderboards(home: Path) -> list[tuple[str, str]]:
    """Return the name and the link of each leaderboard mirrored, without importing mlflow."""
    query = "SELECT name, experiment_id FROM experiments WHERE lifecycle_stage = 'active' ORDER BY name"
    try:
        with closing(sqlite3.connect(f"{(home / DATABASE).resolve().as_uri()}?mode=ro", uri=True)) as store:
            found = store.execute(query).fetchall()
    except sqlite3.Error:
        return []
    return [(name.removeprefix(PREFIX), _link(key)) for name, key in found if name.startswith(PREFIX)]


def _link(experiment: object) -> str:
    return f"#/experiments/{experiment}/runs?orderByKey=metrics.%60test_accuracy%60&orderByAsc=false"


class Mirror:
    """One leaderboard in MLflow: a parent run, a child for each run. One process writes."""

    def __init__(self, home: Path, leaderboard: str) -> None:
        address = uri(home)
        _check(home / DATABASE)
        self.client: MlflowClient = _mlflow()(tracking_uri=address)
        self.home = home
        self.experiment = self._experiment(leaderboard)
        self.parent = self._parent(leaderboard)
        self.known = self._children()

    def add(self, records: Iterable[Record]) -> int:
        """Write the runs that are not there yet; return how many. Twice in a row changes nothing."""
        added = 0
        for record in records:
            if record.id not in self.known:
                self._write(record)
                self.known.add(record.id)
                added += 1
        return added

    def link(self) -> str:
        """Return the page's address behind the server's own, best accuracy first."""
        return _link(self.experiment)

    def _experiment(self, leaderboard: str) -> str:
        name = f"{PREFIX}{leaderboard}"
        found = self.client.get_experiment_by_name(name)
        if found is not None:
            if found.lifecycle_stage == "deleted":  # a user's click on the page
                self.client.restore_experiment(found.experiment_id)
            return str(found.experiment_id)
        # Without a location MLflow would put artifacts into whatever folder the user is in.
        artifacts = (self.home / "mlflow-artifacts" / leaderboard).resolve().as_uri()
        return str(self.client.create_experiment(name, artifact_location=artifacts))

    def _parent(self, leaderboard: str) -> str:
        found = self.client.search_runs([self.experiment], "tags.kind = 'leaderboard'", max_results=1)
        if found:
            return str(found[0].info.run_id)
        run = self.client.create_run(self.experiment, tags={"kind": "leaderboard"}, run_name=leaderboard)
        self.client.set_terminated(run.info.run_id)
        return str(run.info.run_id)

    def _children(self) -> set[str]:
        """Return the ids of the runs that are mirrored whole; half-written ones are removed."""
        known, token = set(), None
        while True:
            page = self.client.search_runs(
                [self.experiment], "tags.kind = 'run'", max_results=1000, page_token=token
            )
            for run in page:
                if run.info.status == "FINISHED":
                    known.add(run.data.tags["run_id"])
                else:
                    self.client.delete_run(run.info.run_id)
            token = page.token
            if not token:
                return known

    def _write(self, record: Record) -> None:
        from mlflow.entities import Metric, Param

        when = _milliseconds(record.provenance["finished"])
        run = self.client.create_run(
            self.experiment,
            start_time=_milliseconds(record.provenance["started"]),
            tags=_tags(record) | {"mlflow.parentRunId": self.parent},
            run_name=f"{record.spec.method.name} seed {record.spec.seed}",
        )
        points = [
            Metric(name, float(row[name]), when, row["index"])
            for row in record.stages
            for name in CURVES
            if row[name] is not None
        ]
        average = sum(row["test_accuracy"] for row in record.stages) / len(record.stages)
        points.append(Metric("test_accuracy_mean", average, when, 0))
        params = [Param(name, value) for name, value in _params(record).items()]
        for start in range(0, max(len(points), len(params)), 100):
            # MLflow takes 100 parameters and 1,000 metrics a call.
            end = start + 100
            self.client.log_batch(run.info.run_id, metrics=points[start:end], params=params[start:end])
        self.client.set_terminated(run.info.run_id, end_time=when)


def _check(database: Path) -> None:
    """Raise sqlite3.Error for what is no database or cannot be written: MLflow would try for minutes."""
    with closing(sqlite3.connect(database)) as store:
        store.execute("BEGIN IMMEDIATE")


def _mlflow() -> Any:  # noqa: ANN401 - a class of an untyped package
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    from mlflow import MlflowClient

    return MlflowClient


def _tags(record: Record) -> dict[str, str]:
    spec = record.spec
    return {
        "kind": "run",
        "run_id": record.id,
        "setting_id": spec.setting_id(),
        "method": spec.method.name,
        "task": spec.task.name,
        "model": spec.model.name,
        "seed": str(spec.seed),
        "regime": str(spec.task.settings.get("regime", "")),
        "status": record.status,
        "commit": str(record.provenance["commit"]),
        "setting": setting_label(spec)[:LONGEST_VALUE],
    }


def _params(record: Record) -> dict[str, str]:
    spec = record.spec
    named = {f"{spec.method.name}.{name}": value for name, value in spec.method.settings.items()}
    named |= {f"model.{name}": value for name, value in spec.model.settings.items()}
    named |= {f"task.{name}": value for name, value in spec.task.settings.items()}
    named |= {f"recipe.{name}": value for name, value in spec.recipe.items()}
    named |= {"method": spec.method.name, "task": spec.task.name, "model": spec.model.name, "seed": spec.seed}
    return {name: _text(value)[:LONGEST_VALUE] for name, value in named.items()}


def _text(value: Any) -> str:  # noqa: ANN401 - a setting's value
    """Return a value with every digit of a number: these are searched and compared."""
    if isinstance(value, float):
        return repr(value)
    return show(tuple(value) if isinstance(value, list) else value)


def _milliseconds(text: str) -> int:
    from datetime import datetime

    return int(datetime.fromisoformat(text).timestamp() * 1000)
