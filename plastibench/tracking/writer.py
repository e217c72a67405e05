"""Write runs to MLflow: one experiment a leaderboard, in it a parent run and a child for each run.

Everything can be done again without doubling anything: a point has the same time whenever it is made, and
MLflow keeps one of equal points; a child says how many stages it has, and of what content; a pack says
which runs are whole.
"""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from plastibench.experiments.spec import Spec, canonical
from plastibench.store.record import Record
from plastibench.tracking import payload
from plastibench.tracking.bulk import writer
from plastibench.tracking.bulk.reader import BulkRun
from plastibench.tracking.experiment import STAGES, ChildRun, ExperimentLoader, MlflowExperiment, key
from plastibench.tracking.payload import MetricPoint, Rows
from plastibench.tracking.server import TrackingServer, link

if TYPE_CHECKING:
    from mlflow import MlflowClient

Value = tuple[str, float, int, int]
"""Of a metric: name, value, milliseconds since 1970, step."""
METRICS_A_CALL = 500
PARAMS_A_CALL = 100


class MlflowWriter:
    """Writes to a place of MLflow's, inside `writing`, where several processes may be in turn."""

    def __init__(self, server: TrackingServer) -> None:
        self.server = server
        self.name = uuid.uuid4().hex
        self.experiments: dict[str, MlflowExperiment] = {}
        self._packs: dict[str, BulkRun] = {}

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Be the one process that writes. What was known is forgotten where another wrote in between."""
        with self.server.write_lock():
            if not hasattr(self, "client"):
                self.client: MlflowClient = self.server.connect()
                self.pack = writer.Writer(self.client, self.server)
            if self.server.lock.read_text() != self.name:
                self.experiments.clear()
                self.server.lock.write_text(self.name)
            yield

    def close(self) -> None:
        """Say that this process writes no more."""
        if hasattr(self, "pack"):
            self.pack.close()

    def experiment(self, name: str) -> MlflowExperiment:
        """Return a leaderboard, made where it is missing."""
        if name not in self.experiments:
            self.experiments[name] = ExperimentLoader(self.client, self.server, self._packs).experiment(name)
        return self.experiments[name]

    def link(self, name: str) -> str:
        """Return the page's address behind the server's own, best accuracy first."""
        return link(self.experiments[name].experiment)

    def stages(self, board: MlflowExperiment, spec: Spec, rows: Rows, start: str | None = None) -> ChildRun:
        """Bring the curves of a run up to date; `start` is when it began, as text."""
        return self._bring(board, spec, rows, start)

    def _bring(
        self, board: MlflowExperiment, spec: Spec, rows: Rows, start: str | None, end: Record | None = None
    ) -> ChildRun:
        """Write what is missing of a run in one call: settings, stages, and at the end what it came to."""
        child, done = self._child(board, spec, rows, start)
        stages = payload.fingerprint(rows)
        if done < len(rows) or end is not None:
            found = payload.points(rows, done) + (payload.sums(rows) if end is not None else [])
            tags = {STAGES: stages} | (payload.origin(end) if end is not None else {})
            self.log(child.id, _timed(child, found), tags, {} if done else payload.params(spec))
        board.children[spec.id] = replace(child, stages=stages, running=True)
        return child

    def _child(
        self, board: MlflowExperiment, spec: Spec, rows: Rows, start: str | None
    ) -> tuple[ChildRun, int]:
        """Return the child of a run, made where it is missing, and how many of its stages are there."""
        child = board.children.get(spec.id)
        if child is not None:
            done = int(child.stages.partition(":")[0])
            if done <= len(rows) and payload.fingerprint(rows[:done]) == child.stages:
                if not child.running:
                    self.client.update_run(child.id, status="RUNNING")
                return child, done
            self.client.delete_run(child.id)  # it was made anew since, with other numbers
        return self._begin(board, spec, start), 0

    def finish(self, board: MlflowExperiment, record: Record) -> bool:
        """Bring a finished run up to date; return whether anything had to be done."""
        digest = content(record)
        old, _, shown = board.whole.get(record.id, "").partition(" ")
        if shown == digest:
            return False
        if old:
            self.client.delete_run(old)
        child = self._bring(board, record.spec, record.stages, record.provenance.get("started"), record)
        self._give(child, record)
        said = f"{child.id} {digest}"
        self.pack.say(record, {key(board.experiment, record.id): said})
        self.client.set_terminated(child.id, end_time=_end(child, record))
        del board.children[record.id]
        board.whole[record.id] = said
        return True

    def leave(self, board: MlflowExperiment, run: str, *, failed: bool) -> None:
        """Say that nobody is at an unfinished run any more."""
        child = board.children.get(run)
        if child is not None and child.running:
            self.client.set_terminated(child.id, status="FAILED" if failed else "KILLED")
            board.children[run] = replace(child, running=False)

    def attach(self, board: MlflowExperiment, texts: Mapping[str, str], files: tuple[Path, ...] = ()) -> None:
        """Lay texts by their names, and files, with the leaderboard."""
        for name, text in texts.items():
            self.client.log_text(board.parent, text, name)
        for path in files:
            (self.client.log_artifacts if path.is_dir() else self.client.log_artifact)(
                board.parent, str(path)
            )

    def _begin(self, board: MlflowExperiment, spec: Spec, start: str | None) -> ChildRun:
        when = int(time.time() * 1000) if start is None else _milliseconds(start)
        made = self.client.create_run(
            board.experiment,
            start_time=when,
            tags={**payload.tags(spec), "mlflow.parentRunId": board.parent, STAGES: payload.fingerprint([])},
            run_name=f"{spec.method.name} seed {spec.seed}",
        )
        child = ChildRun(str(made.info.run_id), when, payload.fingerprint([]))
        board.children[spec.id] = child
        return child

    def log(
        self,
        run: str,
        values: Sequence[Value],
        tags: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> None:
        """Write to a run of MLflow's in as few calls as it takes; the tags come last."""
        from mlflow.entities import Metric, Param, RunTag

        named = [Param(*pair) for pair in (params or {}).items()]
        *first, settings = list(payload.batches(named, PARAMS_A_CALL)) or [[]]
        for batch in first:
            self.client.log_batch(run, params=batch)
        metrics = [Metric(*value) for value in values]
        *others, last = list(payload.batches(metrics, METRICS_A_CALL)) or [[]]
        for batch in others:
            self.client.log_batch(run, metrics=batch)
        labels = [RunTag(*pair) for pair in (tags or {}).items()]
        self.client.log_batch(run, metrics=last, params=settings, tags=labels)

    def _give(self, child: ChildRun, record: Record) -> None:
        """Add the description, and the data set by name and digest."""
        from mlflow.entities import Dataset, DatasetInput

        self.client.log_text(child.id, canonical(record.spec.as_dict()) + "\n", "spec.json")
        digest = record.provenance.get("data")
        if digest is not None:
            source = canonical({"task": record.spec.task.name})
            data = Dataset(
                record.spec.task.name, str(digest)[: payload.LONGEST_DIGEST], "plastibench", source
            )
            self.client.log_inputs(child.id, datasets=[DatasetInput(dataset=data, tags=[])])


def _timed(child: ChildRun, points: Sequence[MetricPoint]) -> list[Value]:
    return [(one.name, one.value, child.start + one.when, one.step) for one in points]


def _end(child: ChildRun, record: Record) -> int:
    """Return when a run ended; where its record is too old to say so, by the seconds of its stages."""
    finished = record.provenance.get("finished")
    if finished is not None:
        return _milliseconds(finished)
    return child.start + max(one.when for one in payload.sums(record.stages))


def content(record: Record) -> str:
    """Return a digest of everything that is shown of a finished run."""
    plain = [record.spec.as_dict(), record.status, record.stages, record.provenance]
    return hashlib.sha256(canonical(plain).encode()).hexdigest()[:16]


def _milliseconds(text: str) -> int:
    from datetime import datetime

    return int(datetime.fromisoformat(text).timestamp() * 1000)
