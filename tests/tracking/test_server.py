"""MLflow on real servers, and runs whose server is slow, broken or gone."""

from __future__ import annotations

import http.server
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from support.commands import SMALL, CommandResult, command, plugin, small_run
from support.servers import mlflow_server, postgres
from support.tracking import a_record, save
from support.workers import free_port

from plastibench.store.run_store import Store
from plastibench.tracking import TrackingServer
from plastibench.tracking.background import BackgroundMirror
from plastibench.tracking.follower import MirrorJob

pytestmark = pytest.mark.heavy


class _Broken(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.send_error(500)

    def do_GET(self) -> None:
        self.send_error(500)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def broken() -> Iterator[str]:
    """Give the address of a server that answers everything with 500."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Broken) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@contextmanager
def absent() -> Iterator[str]:
    """Give an address at which no server listens."""
    yield f"http://127.0.0.1:{free_port()}"


def num_failures(answer: CommandResult) -> int:
    return sum("cannot be written" in line for line in answer.lines())


@pytest.mark.parametrize("server", [broken, pytest.param(absent, marks=pytest.mark.slow)])
def test_run_without_its_server_finishes_with_one_warning(tmp_path: Path, server: object) -> None:
    with server() as uri:  # type: ignore[operator]
        words = ("--home", tmp_path, "--tracking-uri", uri)
        answer = command("run", *words, *SMALL, "--seeds", 1, "--method", "warm")
        assert answer.status == 0, answer
        assert num_failures(answer) == 1
        assert "`plastibench sync --home " in answer.err
        assert len(list(tmp_path.rglob("run.json"))) == 1
        refused = command("sync", *words)
        assert (refused.status, "cannot be written" in refused.lines()[-1]) == (2, True)
        assert not list(tmp_path.glob("*.db"))


def test_absent_server_is_noticed_before_pages_are_drawn(tmp_path: Path) -> None:
    save(tmp_path, a_record(0))
    with absent() as uri:
        refused = command("sync", "--home", tmp_path, "--tracking-uri", uri, "--report")
    assert (refused.status, num_failures(refused)) == (2, 1)
    assert "making pages" not in refused.err


def test_silent_server_is_waited_for_no_longer_than_its_timeout(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    record = save(tmp_path, a_record(0))
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(20)
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        server = replace(TrackingServer.from_uri(uri, tmp_path), timeout_seconds=1.0)
        with BackgroundMirror(MirrorJob(server, {"board": (record.spec,)})) as mirror:
            request, _ = silent.accept()  # the process has asked
            with request:
                start = time.monotonic()
                mirror.finish()
        # MLflow by itself waits for minutes; a busy machine may take seconds to start what waits.
        assert time.monotonic() - start < server.timeout_seconds + 60
    assert [entry.levelno for entry in caplog.records if "cannot be written" in entry.message] == [
        logging.WARNING
    ]
    assert mirror.result is not None
    assert not mirror.result.is_complete


@pytest.mark.slow
def test_server_that_is_killed_during_runs_has_everything_after_sync(
    tmp_path: Path, empty_database: Callable[[Path, str], None]
) -> None:
    """The method of this test kills the server before its second stage, once the first has arrived."""
    home, port = tmp_path / "home", free_port()
    uri = f"http://127.0.0.1:{port}"
    empty_database(tmp_path, "server.db")
    with mlflow_server(tmp_path, port) as server:
        hook = (
            "def before_stage(self, learner):\n"
            "    import os, sqlite3, time\n"
            "    end = time.monotonic() + 60\n"
            "    while time.monotonic() < end:\n"
            "        time.sleep(0.1)\n"
            f"        rows = sqlite3.connect({str(tmp_path / 'server.db')!r}).execute(\n"
            "            \"SELECT value FROM metrics WHERE key = 'test_accuracy'\").fetchall()\n"
            "        if rows:\n"
            f"            os.killpg({server.pid}, 9)\n"
            "            return\n"
        )
        words = ("--seeds", 1, "--plugin", plugin(tmp_path, "mine", hook), "--method", "mine")
        answer = command("run", "--home", home, *SMALL, *words, "--tracking-uri", uri)
        assert server.wait(timeout=120) != 0
    assert answer.status == 0, answer
    assert num_failures(answer) == 1
    with mlflow_server(tmp_path, port):
        later = command("sync", "--home", home, "--tracking-uri", uri)
        assert "MLflow: 1 of 1 run brought up to date" in later.err, later
        again = command("sync", "--home", home, "--tracking-uri", uri)
        assert "MLflow: 0 of 1 run brought up to date" in again.err, again
        check_children(TrackingServer.from_uri(uri, home), home)


def check_children(server: TrackingServer, home: Path) -> None:
    """Check that a server has the only run of a home folder, whole and once."""
    client = server.connect()
    experiment = client.get_experiment_by_name("plastibench/quickstart")
    assert experiment is not None
    (child,) = client.search_runs([experiment.experiment_id], "tags.kind = 'run'")
    (record,) = Store(home).records()
    points = client.get_metric_history(child.info.run_id, "test_accuracy")
    assert [(p.step, p.value) for p in points] == [(r["index"], r["test_accuracy"]) for r in record.stages]
    assert [file.path for file in client.list_artifacts(child.info.run_id)] == ["spec.json"]


@pytest.fixture(scope="module")
def postgres_uri() -> Iterator[str]:
    with postgres() as uri:
        yield uri


@pytest.mark.slow
def test_postgresql_holds_the_mirror(tmp_path: Path, postgres_uri: str) -> None:
    small_run(tmp_path, "--method", "warm")
    words = ("--home", tmp_path, "--tracking-uri", postgres_uri)
    assert "1 of 1 run brought up to date" in command("sync", *words).err
    assert "0 of 1 run brought up to date" in command("sync", *words).err
    live = command("run", *SMALL, "--seeds", 1, "--method", "warm,cold", *words)
    assert "MLflow: 1 run added to postgresql+psycopg://" in live.err, live
    assert "0 of 2 runs brought up to date" in command("sync", *words).err
    from_store = command("table", "--home", tmp_path, "--format", "csv")
    assert from_store.out.count("\n") == 3
    assert command("table", "--home", "/nowhere", "--from", postgres_uri, "--format", "csv") == from_store


@pytest.mark.slow
def test_absent_postgresql_is_one_warning(tmp_path: Path) -> None:
    pytest.importorskip("psycopg", reason="psycopg is not installed: no driver for PostgreSQL")
    uri = "postgresql://me:secret@127.0.0.1:1/x"
    words = ("--seeds", 1, "--method", "warm", "--tracking-uri", uri)
    answer = command("run", "--home", tmp_path, *SMALL, *words)
    assert (answer.status, num_failures(answer)) == (0, 1)
    assert "secret" not in answer.err
