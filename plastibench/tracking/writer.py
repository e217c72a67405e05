"""Write runs to MLflow: an experiment for each leaderboard, in it a parent run with a child for each run.

Writing twice changes nothing: MLflow keeps one of equal metric points, a child has the digest of its stages,
and a batch names the finished children.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from plastibench.experiments.spec import Spec, canonical
from plastibench.store.record import Record
from plastibench.tracking import payload
from plastibench.tracking.bulk.writer import BatchWriter
from plastibench.tracking.experiment import (
    STAGES,
    ChildRun,
    ExperimentLoader,
    FinishedChild,
    MlflowExperiment,
)
from plastibench.tracking.payload import MetricPoint, StageRows
from plastibench.tracking.server import TrackingServer, experiment_link

if TYPE_CHECKING:
    from mlflow import MlflowClient

METRICS_PER_CALL = 500
PARAMS_PER_CALL = 100
MAX_DATASET_DIGEST = 36


class MlflowWriter:
    """Writes to MLflow inside `session`, in which no other process of ours writes."""

    client: MlflowClient
    loader: ExperimentLoader
    batch: BatchWriter

    def __init__(self, server: TrackingServer) -> None:
        self.server = server
        self.name = uuid.uuid4().hex
        self.is_connected = False
        self.experiments: dict[str, MlflowExperiment] = {}

    @contextmanager
    def session(self) -> Iterator[None]:
        """Hold the write lock; forget what MLflow had if another process wrote in between."""
        with self.server.write_lock():
            if not self.is_connected:
                self.client = self.server.connect()
                self.batch = BatchWriter(self.client, self.server)
                self.is_connected = True
            if self.server.lock_file.read_text() != self.name:
                self.reset()
                self.server.lock_file.write_text(self.name)
            yield

    def reset(self) -> None:
        """Forget what MLflow had."""
        self.experiments.clear()
        if self.is_connected:
            self.loader = ExperimentLoader(self.client, self.server)

    def close(self) -> None:
        """Finish the batch of this process."""
        if self.is_connected:
            self.batch.close()

    def experiment(self, leaderboard: str) -> MlflowExperiment:
        """Return the experiment of a leaderboard, created if missing."""
        if leaderboard not in self.experiments:
            self.experiments[leaderboard] = self.loader.load(leaderboard)
        return self.experiments[leaderboard]

    def link(self, leaderboard: str) -> str:
        """Return the page's address behind the server's, best accuracy first."""
        return experiment_link(self.experiments[leaderboard].id)

    def write_stages(
        self, experiment: MlflowExperiment, spec: Spec, rows: StageRows, started: str | None = None
    ) -> ChildRun:
        """Write the missing stages of an unfinished run; `started` is an ISO time."""
        child = self._ensure_child(experiment, spec, rows, started)
        if child.num_stages < len(rows):
            self._log_run(child, spec, rows)
        child = replace(child, stages=payload.stages_digest(rows), is_running=True)
        experiment.unfinished[spec.id] = child
        return child

    def write_record(self, experiment: MlflowExperiment, record: Record) -> bool:
        """Write what is missing of a finished run; return whether anything was."""
        digest, old = payload.record_digest(record), experiment.finished.get(record.id)
        if old is not None and old.digest == digest:
            return False
        if old is not None:
            self.client.delete_run(old.id)
        started, finished = (record.provenance.get(name) for name in ("started", "finished"))
        child = self._ensure_child(experiment, record.spec, record.stages, started)
        totals = payload.total_points(record.stages, child.start_time)
        self._log_run(child, record.spec, record.stages, totals, payload.provenance_tags(record))
        self._log_inputs(child, record)
        self.batch.add(record, {experiment.tag_key(record.id): f"{child.id} {digest}"})
        # A record that is too old to have its end has the seconds of its stages.
        end_time = totals[0].timestamp if finished is None else _milliseconds(finished)
        self.client.set_terminated(child.id, end_time=end_time)
        experiment.unfinished.pop(record.id, None)
        experiment.finished[record.id] = FinishedChild(child.id, digest)
        return True

    def _ensure_child(
        self, experiment: MlflowExperiment, spec: Spec, rows: StageRows, started: str | None
    ) -> ChildRun:
        """Return the child of a run, created if missing or if its stages are not those of the run."""
        child = experiment.unfinished.get(spec.id)
        if child is not None and payload.stages_digest(rows[: child.num_stages]) == child.stages:
            if not child.is_running:
                self.client.update_run(child.id, status="RUNNING")
            return child
        if child is not None:  # the run was executed again, with other numbers
            self.client.delete_run(child.id)
        start_time = int(time.time() * 1000) if started is None else _milliseconds(started)
        tags = {"mlflow.parentRunId": experiment.parent, STAGES: payload.stages_digest([])}
        run = self.client.create_run(
            experiment.id,
            start_time=start_time,
            tags=payload.spec_tags(spec) | tags,
            run_name=f"{spec.method.name} seed {spec.seed}",
        )
        return ChildRun(str(run.info.run_id), start_time)

    def _log_run(
        self,
        child: ChildRun,
        spec: Spec,
        rows: StageRows,
        totals: Sequence[MetricPoint] = (),
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Log the stages of a run that MLflow does not have, and more, in one call."""
        points = payload.stage_points(rows, child.start_time, child.num_stages)
        params = {} if child.num_stages else payload.spec_params(spec)
        self.log(child.id, [*points, *totals], {STAGES: payload.stages_digest(rows), **(tags or {})}, params)

    def stop_run(self, experiment: MlflowExperiment, run: str, *, failed: bool) -> None:
        """Mark an unfinished run that no process executes."""
        child = experiment.unfinished.get(run)
        if child is not None and child.is_running:
            self.client.set_terminated(child.id, status="FAILED" if failed else "KILLED")
            experiment.unfinished[run] = replace(child, is_running=False)

    def attach(
        self, experiment: MlflowExperiment, texts: Mapping[str, str], files: Sequence[Path] = ()
    ) -> None:
        """Attach texts by their names, and files and folders, to a leaderboard."""
        for name, text in texts.items():
            self.client.log_text(experiment.parent, text, name)
        for path in files:
            log = self.client.log_artifacts if path.is_dir() else self.client.log_artifact
            log(experiment.parent, str(path))

    def log(
        self,
        run: str,
        points: Sequence[MetricPoint],
        tags: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> None:
        """Write to an MLflow run in as few calls as possible; the tags come last."""
        from mlflow.entities import Metric, Param, RunTag

        all_params = [Param(*param) for param in (params or {}).items()]
        *first_params, last_params = list(payload.chunks(all_params, PARAMS_PER_CALL)) or [[]]
        for chunk in first_params:
            self.client.log_batch(run, params=chunk)
        metrics = [Metric(*point) for point in points]
        *first_metrics, last_metrics = list(payload.chunks(metrics, METRICS_PER_CALL)) or [[]]
        for metrics_chunk in first_metrics:
            self.client.log_batch(run, metrics=metrics_chunk)
        run_tags = [RunTag(*tag) for tag in (tags or {}).items()]
        self.client.log_batch(run, metrics=last_metrics, params=last_params, tags=run_tags)

    def _log_inputs(self, child: ChildRun, record: Record) -> None:
        """Write the spec, and the data set by name and digest."""
        from mlflow.entities import Dataset, DatasetInput

        self.client.log_text(child.id, canonical(record.spec.as_dict()) + "\n", "spec.json")
        digest = record.provenance.get("data")
        if digest is not None:
            task = record.spec.task.name
            data = Dataset(task, str(digest)[:MAX_DATASET_DIGEST], "plastibench", canonical({"task": task}))
            self.client.log_inputs(child.id, datasets=[DatasetInput(dataset=data, tags=[])])


def _milliseconds(time: str) -> int:
    """Return an ISO time in milliseconds since 1970."""
    return int(datetime.fromisoformat(time).timestamp() * 1000)
