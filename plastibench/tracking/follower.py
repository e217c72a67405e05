"""The process that writes to MLflow while runs go on: it reads the store, and no run waits for it."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from plastibench.experiments.spec import Spec
from plastibench.store import tuned_settings
from plastibench.store.record import Record
from plastibench.store.run_status import LOCK_FILE
from plastibench.store.run_store import Store
from plastibench.store.run_writer import FAILURE_FILE
from plastibench.system.locks import is_locked
from plastibench.system.processes import send_to_parent
from plastibench.tracking.experiment import MlflowExperiment
from plastibench.tracking.server import PATIENCE_SECONDS, TrackingServer, configure_mlflow
from plastibench.tracking.writer import MlflowWriter

if TYPE_CHECKING:
    from plastibench.tracking.studies import TuningMirror

LOOK_SECONDS = 1.0
"""How often the store is looked at."""
RETRY_SECONDS = 20.0
"""How long until a place that could not be written is tried again."""
OWN_SECONDS = 60.0
"""How long a step may take that only this machine has a part in, such as importing mlflow."""
POLITENESS = 5
"""By how much the process stands back behind those that train."""


@dataclass(frozen=True)
class MirrorJob:
    """What is to be followed, as plain values that travel to other processes."""

    server: TrackingServer
    leaderboards: Mapping[str, Sequence[Spec]]
    tuning: tuple[str, str | None] | None = None
    """The name of a tuning, and the address of its Optuna storage."""


@dataclass
class StoreFollower:
    """Brings the runs of leaderboards up to date, again and again."""

    errand: MirrorJob
    added: int = 0
    """Finished runs, or trials, that were written."""
    _sizes: dict[str, int] = field(default_factory=dict)
    _over: set[tuple[str, str]] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Begin with nothing known."""
        self._studies: TuningMirror | None = None
        self.store = Store(self.errand.server.home)
        self.mirror = MlflowWriter(self.errand.server)

    def look(self, alive: Beat | None = None) -> None:
        """Write what has changed since the last time. `alive` is told of every run."""
        self._look_at_runs(alive)
        if self.errand.tuning is not None:
            self._look_at_trials(self.errand.tuning)

    def look_again(self) -> None:
        """Take nothing that is unfinished for unchanged: a damaged run may have been made again."""
        self._sizes.clear()

    def _look_at_trials(self, tuning: tuple[str, str | None]) -> None:
        from plastibench.tracking.studies import TuningMirror

        if self._studies is None:
            self._studies = TuningMirror(self.mirror, self.store.home, *tuning)
        if self._studies.changed():
            with self.mirror.writing():
                self.added += self._studies.bring()

    def _look_at_runs(self, alive: Beat | None) -> None:
        changed = [
            (name, spec)
            for name, specs in self.errand.leaderboards.items()
            for spec in specs
            if (name, spec.id) not in self._over and self._has_changed(spec)
        ]
        if not changed:
            return
        with self.mirror.writing():
            for name, spec in changed:
                if alive is not None:
                    alive.beat()
                self._bring(self.mirror.experiment(name), name, spec)
        for _, spec in changed:
            self._sizes[spec.id] = self._size(spec)

    def leave(self) -> None:
        """Say which runs nobody is at any more."""
        unfinished = {spec.id for specs in self.errand.leaderboards.values() for spec in specs}
        if not any(board.children for board in self.mirror.experiments.values()):
            self.mirror.close()
            return
        with self.mirror.writing():
            for name in self.errand.leaderboards:
                board = self.mirror.experiment(name)
                for run in [run for run in board.children if run in unfinished]:
                    folder = self.store.folder(run)
                    if not is_locked(folder / LOCK_FILE):
                        self.mirror.leave(board, run, failed=(folder / FAILURE_FILE).exists())
            self.mirror.close()

    def _bring(self, board: MlflowExperiment, name: str, spec: Spec) -> None:
        if not (self.store.folder(spec.id) / "run.json").exists():
            rows = stages(self.store, spec)
            if rows:
                self.mirror.stages(board, spec, rows, began(self.store, spec))
            return
        record = self._record(spec)
        if record is None:
            return
        self.added += self.mirror.finish(board, record)
        self._over.add((name, spec.id))

    def _record(self, spec: Spec) -> Record | None:
        record = self.store.read(spec.id)
        return None if record is None else tuned_settings.attach([record], self.store.home)[0]

    def _has_changed(self, spec: Spec) -> bool:
        return self._size(spec) != self._sizes.get(spec.id, 0)

    def _size(self, spec: Spec) -> int:
        """Return a number that changes with every stage, and with the end."""
        folder = self.store.folder(spec.id)
        with suppress(OSError):
            if (folder / "run.json").exists():
                return -1
            return (folder / "stages.jsonl").stat().st_size
        return 0


def stages(store: Store, spec: Spec) -> list[dict[str, Any]]:
    """Return the stages of a run that are on the disk; a line that is being written is not."""
    try:
        lines = (store.folder(spec.id) / "stages.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
        return [json.loads(line) for line in lines]
    except (OSError, ValueError):
        return []


def began(store: Store, spec: Spec) -> str | None:
    """Return when a run was first begun, as text; None where nothing says so."""
    try:
        with (store.folder(spec.id) / "events.jsonl").open(encoding="utf-8") as file:
            return str(json.loads(file.readline())["time"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


class Beat:
    """What is told to the process for which this one works."""

    def __init__(self, pipe: Connection, server: TrackingServer) -> None:
        self.pipe = pipe
        self.patience = PATIENCE_SECONDS if server.sqlite_path is None else OWN_SECONDS

    def beat(self, patience: float | None = None) -> None:
        """Say that this process lives, and how long it may be until it says so again."""
        send_to_parent(self.pipe, ("alive", self.patience if patience is None else patience))


def follow(pipe: Connection, errand: MirrorJob) -> None:
    """Be the process: look every second until told to end, then once more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    with suppress(AttributeError, OSError):
        os.nice(POLITENESS)
    beat = Beat(pipe, errand.server)
    beat.beat(OWN_SECONDS)
    configure_mlflow()
    try:
        import mlflow  # noqa: F401 - before the server's patience counts
    except Exception as error:
        send_to_parent(beat.pipe, ("broken", errand.server.explain(error)))
        return
    _look_until_told(StoreFollower(errand), beat)


def _look_until_told(follower: StoreFollower, beat: Beat) -> None:
    again, broken = 0.0, False
    while True:
        texts = _told(beat.pipe)
        if time.monotonic() >= again:
            try:
                beat.beat()
                if texts is not None:
                    follower.look_again()
                follower.look(beat)
                if texts is not None:
                    _end(follower, texts)
                broken = False
            except Exception as error:  # whatever MLflow and its database raise
                broken, again = True, time.monotonic() + RETRY_SECONDS
                follower.mirror.experiments.clear()  # what was under way is looked up anew
                send_to_parent(beat.pipe, ("broken", follower.errand.server.explain(error)))
        if texts is not None:
            if not broken:
                links = {name: follower.mirror.link(name) for name in follower.mirror.experiments}
                send_to_parent(beat.pipe, ("done", (follower.added, links)))
            return


def _end(follower: StoreFollower, texts: Mapping[str, Mapping[str, str]]) -> None:
    """Lay texts with their leaderboards, and leave."""
    follower.leave()
    with follower.mirror.writing():
        for name, named in texts.items():
            follower.mirror.attach(follower.mirror.experiment(name), named)


def _told(pipe: Connection) -> Mapping[str, Mapping[str, str]] | None:
    """Wait a while; return what to lay with the leaderboards when told to end. Ends where nobody is left."""
    try:
        if not pipe.poll(LOOK_SECONDS):
            return None
        found: Mapping[str, Mapping[str, str]] = pipe.recv()
        return found
    except (EOFError, OSError):
        os._exit(1)
