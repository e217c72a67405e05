"""The process that mirrors runs to MLflow while they train: it reads the store, and no run waits for it."""

import json
import logging
import os
import shlex
import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from logging.handlers import QueueHandler
from multiprocessing.connection import Connection
from types import SimpleNamespace
from typing import Any

from plastibench.experiments.spec import Spec
from plastibench.store import tuned_settings
from plastibench.store.run_status import LOCK_FILE
from plastibench.store.run_store import Store
from plastibench.store.run_writer import FAILURE_FILE
from plastibench.system.locks import DATABASE_LOCK_SECONDS, is_locked
from plastibench.system.signals import ignore_group_signals, send_to_parent
from plastibench.tracking.aggregates import write_aggregates
from plastibench.tracking.leaderboard import leaderboard_records, leaderboard_tables, table_files
from plastibench.tracking.page_view import experiment_link
from plastibench.tracking.server import TrackingServer
from plastibench.tracking.studies import TuningMirror, TuningSource
from plastibench.tracking.writer import MlflowWriter

logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0
RETRY_SECONDS = 20.0
"""Time until MLflow is tried again after an error."""
STEP_SECONDS = DATABASE_LOCK_SECONDS + 30.0
"""Longest time of a step, such as importing mlflow or writing a run; requests have timeouts of their own."""
AGGREGATE_SECONDS = 10.0
AGGREGATE_SHARE = 0.02
"""How soon, and in which share of the time, aggregates are brought up to date while runs are executed."""
NICENESS = 5
"""So that runs have priority."""


@dataclass(frozen=True)
class MirrorJob:
    """What to mirror, as plain values that can be sent to other processes."""

    server: TrackingServer
    leaderboards: Mapping[str, Sequence[Spec]] = field(default_factory=dict)
    tuning: TuningSource | None = None


@dataclass(frozen=True)
class MirrorResult:
    """What a job brought to MLflow."""

    server: TrackingServer
    """Where it is: the database in the home folder may have replaced another."""
    num_added: int
    """Finished runs or trials."""
    links: Mapping[str, str]
    """The page's address behind the server's, by leaderboard."""
    is_complete: bool
    """Whether all could be written; a warning has said why not."""


class StoreFollower:
    """Brings runs and trials to MLflow as they progress."""

    def __init__(
        self, job: MirrorJob, on_run: Callable[[], None], aggregate_seconds: float = AGGREGATE_SECONDS
    ) -> None:
        """`on_run` is called before each run and each leaderboard that is written."""
        self.job = job
        self.on_run = on_run
        self.store = Store(job.server.home)
        self.writer = MlflowWriter(job.server)
        self.tuning = None if job.tuning is None else TuningMirror(self.writer, job.server.home, job.tuning)
        self.num_added = 0
        """Finished runs or trials that were written."""
        self._sizes: dict[str, int] = {}
        self._written: set[tuple[str, str]] = set()
        self._changed: set[str] = set()
        """Leaderboards with runs that their aggregates lack."""
        self.aggregate_seconds = aggregate_seconds
        self._aggregates_due = time.monotonic() + aggregate_seconds

    def update(self) -> None:
        """Write what has changed since the last time."""
        self._update_runs_and_trials()
        start = time.monotonic()
        if self._changed and start >= self._aggregates_due:
            self._update_leaderboards(sorted(self._changed), attach=False)
            seconds = (time.monotonic() - start) / AGGREGATE_SHARE
            self._aggregates_due = start + max(self.aggregate_seconds, seconds)

    def _update_runs_and_trials(self) -> None:
        self._update_runs()
        if self.tuning is not None and self.tuning.changed_studies():
            with self.writer.session():
                self.num_added += self.tuning.update()

    def finish(self, *, attach: bool) -> None:
        """Write what is left, mark the runs that no process executes; attach tables to leaderboards."""
        self._sizes.clear()  # a damaged run may have been executed again
        self._update_runs_and_trials()
        if any(experiment.unfinished for experiment in self.writer.experiments.values()):
            with self.writer.session():
                self._mark_stopped_runs()
        self.writer.close()
        self._update_leaderboards(self.job.leaderboards, attach=attach)

    def _update_leaderboards(self, names: Iterable[str], *, attach: bool) -> None:
        """Bring the aggregates of leaderboards up to date, and their tables if they are to be attached."""
        for name in names:
            self.on_run()
            tables = leaderboard_tables(leaderboard_records(self.store, name))
            with self.writer.session():
                experiment = self.writer.experiment(name)
                write_aggregates(self.writer, experiment, tables)
                if attach:
                    self.writer.attach(experiment, table_files(tables))
            self._changed.discard(name)

    def result(self, *, is_complete: bool) -> MirrorResult:
        """Return what was written, and where."""
        links = {name: experiment_link(each.id) for name, each in self.writer.experiments.items()}
        return MirrorResult(self.writer.server, self.num_added, links, is_complete)

    def _update_runs(self) -> None:
        changed = [
            (name, spec)
            for name, specs in self.job.leaderboards.items()
            for spec in specs
            if (name, spec.id) not in self._written and self._size(spec.id) != self._sizes.get(spec.id, 0)
        ]
        if changed:
            with self.writer.session():
                for name, spec in changed:
                    self.on_run()
                    self._write(name, spec)
        self._sizes.update((spec.id, self._size(spec.id)) for _, spec in changed)

    def _write(self, leaderboard: str, spec: Spec) -> None:
        experiment = self.writer.experiment(leaderboard)
        if not (self.store.folder(spec.id) / "run.json").exists():
            rows = self._stages(spec.id)
            if rows:
                self.writer.write_stages(experiment, spec, rows, self._started(spec.id))
            return
        for record in tuned_settings.attach(self.store.finished([spec]), self.store.tuned_settings()):
            if self.writer.write_record(experiment, record):
                self.num_added += 1
                self._changed.add(leaderboard)
            self._written.add((leaderboard, spec.id))

    def _mark_stopped_runs(self) -> None:
        runs = {spec.id for specs in self.job.leaderboards.values() for spec in specs}
        for name in self.job.leaderboards:
            experiment = self.writer.experiment(name)
            for run in runs & experiment.unfinished.keys():
                folder = self.store.folder(run)
                if not is_locked(folder / LOCK_FILE):
                    self.writer.stop_run(experiment, run, failed=(folder / FAILURE_FILE).exists())

    def _size(self, run: str) -> int:
        """Return a number that changes with every stage and at the end."""
        folder = self.store.folder(run)
        with suppress(OSError):
            return -1 if (folder / "run.json").exists() else (folder / "stages.jsonl").stat().st_size
        return 0

    def _stages(self, run: str) -> list[dict[str, Any]]:
        """Return the saved stages of a run, without a line that is still being written."""
        try:
            text = (self.store.folder(run) / "stages.jsonl").read_text(encoding="utf-8")
            return [json.loads(line) for line in text.split("\n")[:-1]]
        except (OSError, ValueError):
            return []

    def _started(self, run: str) -> str | None:
        """Return the ISO time at which a run was first started, if its events say so."""
        try:
            with (self.store.folder(run) / "events.jsonl").open(encoding="utf-8") as file:
                return str(json.loads(file.readline())["time"])
        except (OSError, ValueError, KeyError, TypeError):
            return None


def follow(connection: Connection, job: MirrorJob) -> None:
    """Mirror a job until the parent sends whether to attach tables: the main function of the process.

    It sends None as a sign of life, log records, and the result last.
    """
    ignore_group_signals()  # the parent decides what Ctrl-C means
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with suppress(AttributeError, OSError):
        os.nice(NICENESS)
    send = partial(send_to_parent, connection)
    logging.getLogger("plastibench").addHandler(QueueHandler(SimpleNamespace(put_nowait=send)))
    follower = StoreFollower(job, on_run=partial(send, None))
    attach, retry_time, has_failed, is_complete = None, 0.0, False, False
    while attach is None:
        attach = _receive(connection)
        if time.monotonic() < retry_time:
            continue
        try:
            send(None)
            if attach is None:
                follower.update()
            else:
                follower.finish(attach=attach)
                is_complete = True
        except Exception as error:  # whatever MLflow and its database raise
            retry_time = time.monotonic() + RETRY_SECONDS
            follower.writer.reset()
            if not has_failed:
                has_failed = True
                log_failure(follower.writer.server, follower.writer.server.explain(error))
    send(follower.result(is_complete=is_complete))


def _receive(connection: Connection) -> bool | None:
    """Wait a moment for the parent's word to end, whether to attach tables; exit if the parent is gone."""
    try:
        return bool(connection.recv()) if connection.poll(POLL_SECONDS) else None
    except (EOFError, OSError):
        os._exit(1)


def log_failure(server: TrackingServer, reason: str) -> None:
    """Warn that MLflow cannot be written; the store is the truth."""
    logger.warning(
        "MLflow at %s cannot be written (%s): the runs go on and are safe in the store; "
        "`%s` brings them later",
        server.display_uri,
        reason,
        shell_command("sync", server),
    )


def shell_command(name: str, server: TrackingServer) -> str:
    """Return a command on the home folder of a server, with its address if it is not the usual one."""
    words = ["plastibench", name, "--home", str(server.home)]
    return shlex.join([*words, *([] if server.is_default else ["--tracking-uri", server.display_uri])])
