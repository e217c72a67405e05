"""Write runs to MLflow: one experiment a leaderboard, in it a parent run and a child for each run.

Everything can be done again without doubling anything: a point has the same time whenever it is made, and
MLflow keeps one of equal points; a child says how many stages it has, and of what content; a pack says
which runs are whole.
"""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plastibench.spec import Spec, canonical
from plastibench.store import Record
from plastibench.tracking import packs, picture
from plastibench.tracking.picture import Point, Rows
from plastibench.tracking.server import PREFIX, Server, link

if TYPE_CHECKING:
    from mlflow import MlflowClient

STAGES = "stages"
"""The tag of a child that says what of its curves is there."""
METRICS_A_CALL = 500
PARAMS_A_CALL = 100


@dataclass(frozen=True)
class Child:
    """A run of MLflow's that stands for one of ours."""

    id: str
    start: int
    """Milliseconds since 1970; times of points count from here."""
    stages: str
    """Fingerprint of the stages that are there."""
    running: bool = True


@dataclass
class Board:
    """One leaderboard as MLflow has it."""

    experiment: str
    parent: str
    whole: dict[str, str] = field(default_factory=dict)
    """The child, and the digest of what it shows, of every run that is there with everything."""
    children: dict[str, Child] = field(default_factory=dict)
    """By the ids of the runs that are there in part."""


class Mirror:
    """Writes to a place of MLflow's, inside `writing`, where several processes may be in turn."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.name = uuid.uuid4().hex
        self.boards: dict[str, Board] = {}
        self._packs: dict[str, packs.Pack] = {}

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Be the one process that writes. What was known is forgotten where another wrote in between."""
        with self.server.alone():
            if not hasattr(self, "client"):
                self.client: MlflowClient = self.server.connect()
                self.pack = packs.Writer(self.client, self.server)
            if self.server.lock.read_text() != self.name:
                self.boards.clear()
                self.server.lock.write_text(self.name)
            yield

    def close(self) -> None:
        """Say that this process writes no more."""
        if hasattr(self, "pack"):
            self.pack.close()

    def board(self, name: str) -> Board:
        """Return a leaderboard, made where it is missing."""
        if name not in self.boards:
            experiment = self._experiment(name)
            board = Board(experiment, self._parent(experiment, name))
            board.children = self._unfinished(experiment)
            board.whole = self._whole(experiment, board.children)
            self.boards[name] = board
        return self.boards[name]

    def link(self, name: str) -> str:
        """Return the page's address behind the server's own, best accuracy first."""
        return link(self.boards[name].experiment)

    def stages(self, board: Board, spec: Spec, rows: Rows, start: str | None = None) -> Child:
        """Bring the curves of a run up to date; `start` is when it began, as text."""
        child = board.children.get(spec.id)
        done = 0
        if child is not None:
            done = int(child.stages.partition(":")[0])
            if done > len(rows) or picture.fingerprint(rows[:done]) != child.stages:
                self.client.delete_run(child.id)  # it was made anew since, with other numbers
                child = None
        if child is None:
            child, done = self._begin(board, spec, start), 0
        if not child.running:
            self.client.update_run(child.id, status="RUNNING")
        if done < len(rows):
            stages = picture.fingerprint(rows)
            self._log(child, picture.points(rows, done), {STAGES: stages})
            child = replace(child, stages=stages)
        board.children[spec.id] = replace(child, running=True)
        return child

    def finish(self, board: Board, record: Record) -> bool:
        """Bring a finished run up to date; return whether anything had to be done."""
        digest = content(record)
        old, _, shown = board.whole.get(record.id, "").partition(" ")
        if shown == digest:
            return False
        if old:
            self.client.delete_run(old)
        child = self.stages(board, record.spec, record.stages, record.provenance["started"])
        self._log(child, picture.sums(record.stages), picture.origin(record))
        self._give(child, record)
        said = f"{child.id} {digest}"
        self.pack.say({_key(board.experiment, record.id): said})
        self.client.set_terminated(child.id, end_time=_milliseconds(record.provenance["finished"]))
        del board.children[record.id]
        board.whole[record.id] = said
        return True

    def leave(self, board: Board, run: str, *, failed: bool) -> None:
        """Say that nobody is at an unfinished run any more."""
        child = board.children.get(run)
        if child is not None and child.running:
            self.client.set_terminated(child.id, status="FAILED" if failed else "KILLED")
            board.children[run] = replace(child, running=False)

    def attach(self, board: Board, texts: Mapping[str, str], files: tuple[Path, ...] = ()) -> None:
        """Lay texts by their names, and files, with the leaderboard."""
        for name, text in texts.items():
            self.client.log_text(board.parent, text, name)
        for path in files:
            (self.client.log_artifacts if path.is_dir() else self.client.log_artifact)(
                board.parent, str(path)
            )

    def _begin(self, board: Board, spec: Spec, start: str | None) -> Child:
        from mlflow.entities import Param

        when = int(time.time() * 1000) if start is None else _milliseconds(start)
        made = self.client.create_run(
            board.experiment,
            start_time=when,
            tags={**picture.tags(spec), "mlflow.parentRunId": board.parent, STAGES: picture.fingerprint([])},
            run_name=f"{spec.method.name} seed {spec.seed}",
        )
        found = [Param(name, value) for name, value in picture.params(spec).items()]
        for batch in picture.batches(found, PARAMS_A_CALL):
            self.client.log_batch(made.info.run_id, params=batch)
        child = Child(str(made.info.run_id), when, picture.fingerprint([]))
        board.children[spec.id] = child
        return child

    def _log(self, child: Child, points: list[Point], tags: Mapping[str, str]) -> None:
        from mlflow.entities import Metric, RunTag

        metrics = [Metric(one.name, one.value, child.start + one.when, one.step) for one in points]
        *others, last = list(picture.batches(metrics, METRICS_A_CALL)) or [[]]
        for batch in others:
            self.client.log_batch(child.id, metrics=batch)
        self.client.log_batch(child.id, metrics=last, tags=[RunTag(*tag) for tag in tags.items()])

    def _give(self, child: Child, record: Record) -> None:
        """Add the description, and the data set by name and digest."""
        from mlflow.entities import Dataset, DatasetInput

        self.client.log_text(child.id, canonical(record.spec.as_dict()) + "\n", "spec.json")
        digest = record.provenance.get("data")
        if digest is not None:
            source = canonical({"task": record.spec.task.name})
            data = Dataset(
                record.spec.task.name, str(digest)[: picture.LONGEST_DIGEST], "plastibench", source
            )
            self.client.log_inputs(child.id, datasets=[DatasetInput(dataset=data, tags=[])])

    def _experiment(self, leaderboard: str) -> str:
        name = f"{PREFIX}{leaderboard}"
        found = self.client.get_experiment_by_name(name)
        if found is not None:
            if found.lifecycle_stage == "deleted":  # a user's click on the page
                self.client.restore_experiment(found.experiment_id)
            return str(found.experiment_id)
        return str(self.client.create_experiment(name, self.server.artifacts(leaderboard)))

    def _parent(self, experiment: str, leaderboard: str) -> str:
        found = self.client.search_runs([experiment], "tags.kind = 'leaderboard'", max_results=1)
        if found:
            return str(found[0].info.run_id)
        run = self.client.create_run(experiment, tags={"kind": "leaderboard"}, run_name=leaderboard)
        self.client.set_terminated(run.info.run_id)
        return str(run.info.run_id)

    def _unfinished(self, experiment: str) -> dict[str, Child]:
        found = self._search(experiment, "tags.kind = 'run' and attributes.status != 'FINISHED'")
        return {
            run.data.tags["run_id"]: Child(
                str(run.info.run_id),
                int(run.info.start_time),
                run.data.tags.get(STAGES, picture.fingerprint([])),
                run.info.status == "RUNNING",
            )
            for run in found
        }

    def _whole(self, experiment: str, unfinished: Mapping[str, Child]) -> dict[str, str]:
        """Return what is said of whole runs; one that a user has deleted is not there."""
        from mlflow.entities import ViewType

        gone = {
            run.info.run_id for run in self._search(experiment, "tags.kind = 'run'", ViewType.DELETED_ONLY)
        }
        closed = [pack.id for pack in self._packs.values() if pack.closed]
        self._packs |= {pack.id: pack for pack in packs.read(self.server, closed)}
        head = _key(experiment, "")
        said = {
            name.removeprefix(head): value
            for pack in self._packs.values()
            for name, value in pack.tags.items()
            if name.startswith(head)
        }
        return {
            run: value
            for run, value in said.items()
            if value.partition(" ")[0] not in gone and run not in unfinished
        }

    def _search(self, experiment: str, what: str, view: int = 1) -> Iterator[Any]:
        token = None
        while True:
            page = self.client.search_runs([experiment], what, view, max_results=1000, page_token=token)
            yield from page
            token = page.token
            if not token:
                return


def content(record: Record) -> str:
    """Return a digest of everything that is shown of a finished run."""
    plain = [record.spec.as_dict(), record.status, record.stages, record.provenance]
    return hashlib.sha256(canonical(plain).encode()).hexdigest()[:16]


def _key(experiment: str, run: str) -> str:
    return f"in.{experiment}.{run}"


def _milliseconds(text: str) -> int:
    from datetime import datetime

    return int(datetime.fromisoformat(text).timestamp() * 1000)
