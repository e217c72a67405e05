"""Write runs to MLflow: an experiment for each leaderboard, in it a parent run with a child for each run.

Writing twice changes nothing: MLflow keeps one of equal metric points, a child has the digest of its stages,
and a batch names the finished children.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plastibench.experiments.spec import Spec, canonical
from plastibench.store.record import Record
from plastibench.tracking import payload
from plastibench.tracking.bulk.writer import BatchWriter
from plastibench.tracking.experiment import STAGES, ChildRun, ExperimentLoader, MlflowExperiment
from plastibench.tracking.payload import MetricPoint, StageRows
from plastibench.tracking.server import TrackingServer

if TYPE_CHECKING:
    from mlflow import MlflowClient

logger = logging.getLogger(__name__)

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
        self.takes_artifacts = True
        """Whether no artifact has failed so far: then no other is tried."""
        self.experiments: dict[str, MlflowExperiment] = {}

    @contextmanager
    def session(self) -> Iterator[None]:
        """Hold the write lock; forget what MLflow had if another process wrote in between."""
        if not self.is_connected:
            self._connect()
        with self.server.write_lock():
            if self.server.lock_file.read_text() != self.name:
                self.reset()
                self.server.lock_file.write_text(self.name)
            yield

    def _connect(self) -> None:
        try:
            with self.server.write_lock():
                self.client = self.server.connect()
        except Exception as error:  # whatever the database or the server raises
            if not self.server.is_optional:
                raise
            self.server = self.server.replacement(error)
            self._connect()
        else:
            self.batch = BatchWriter(self.client, self.server)
            self.is_connected = True

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
        digest = payload.record_digest(record)
        old, _, old_digest = experiment.finished.get(record.id, "").partition(" ")
        if old_digest == digest:
            return False
        if old:
            self.client.delete_run(old)
        started, finished = (record.provenance.get(name) for name in ("started", "finished"))
        child = self._ensure_child(experiment, record.spec, record.stages, started)
        totals = payload.total_points(record.stages, child.start_time)
        self._log_run(child, record.spec, record.stages, totals, payload.provenance_tags(record))
        self._log_dataset(child, record)
        entry = f"{child.id} {digest}"
        self.batch.add(record, {experiment.tag_key(record.id): entry})
        # A record that is too old to have its end has the seconds of its stages.
        end_time = totals[0].timestamp if finished is None else payload.milliseconds(finished)
        self.client.set_terminated(child.id, end_time=end_time)
        experiment.unfinished.pop(record.id, None)
        experiment.finished[record.id] = entry
        self.log_text(child.id, canonical(record.spec.as_dict()) + "\n", "spec.json")
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
        start_time = int(time.time() * 1000) if started is None else payload.milliseconds(started)
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
            self.log_text(experiment.parent, text, name)
        for path in files:
            log = self.client.log_artifacts if path.is_dir() else self.client.log_artifact
            self._log_artifact(log, experiment.parent, str(path))

    def log_text(self, run: str, text: str, name: str) -> None:
        """Store a text as an artifact of an MLflow run, if artifacts can be stored."""
        self._log_artifact(self.client.log_text, run, text, name)

    def _log_artifact(self, log: Callable[..., Any], *arguments: str) -> None:
        """Store an artifact. Only a server's own machine may be able to, or a library be needed for it."""
        if self.takes_artifacts:
            try:
                log(*arguments)
            except Exception as error:  # whatever such a library raises
                self.takes_artifacts = False
                logger.warning(
                    "MLflow at %s cannot store artifacts (%s): it has the numbers without them",
                    self.server.display_uri,
                    self.server.explain(error),
                )

    def log(
        self,
        run: str,
        points: Sequence[MetricPoint],
        tags: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> None:
        """Write to an MLflow run in as few calls as possible; the tags come last."""
        from mlflow.entities import Metric, Param, RunTag

        metrics = payload.chunks([Metric(*point) for point in points], METRICS_PER_CALL)
        all_params = payload.chunks([Param(*param) for param in (params or {}).items()], PARAMS_PER_CALL)
        run_tags = [RunTag(*tag) for tag in (tags or {}).items()]
        *calls, (last_metrics, last_params) = [*zip_longest(metrics, all_params)] or [(None, None)]
        for some_metrics, some_params in calls:
            self.client.log_batch(run, metrics=some_metrics or (), params=some_params or ())
        self.client.log_batch(run, metrics=last_metrics or (), params=last_params or (), tags=run_tags)

    def _log_dataset(self, child: ChildRun, record: Record) -> None:
        """Write the name and the digest of the data set."""
        from mlflow.entities import Dataset, DatasetInput

        digest = record.provenance.get("data")
        if digest is not None:
            task = record.spec.task.name
            data = Dataset(task, str(digest)[:MAX_DATASET_DIGEST], "plastibench", canonical({"task": task}))
            self.client.log_inputs(child.id, datasets=[DatasetInput(dataset=data, tags=[])])
