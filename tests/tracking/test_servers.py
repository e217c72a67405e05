"""The mirror on real servers, and what becomes of a run when they are slow, broken or gone."""

from __future__ import annotations

import http.server
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.commands import SMALL, Answer, command, plugin, small_run
from support.servers import mlflow_server, postgres
from support.tracking import QUIET, a_record, finish
from support.workers import free_port

from plastibench.store.run_store import Store
from plastibench.tracking import TrackingServer
from plastibench.tracking.background import BackgroundMirror
from plastibench.tracking.follower import MirrorJob
from plastibench.tracking.server import PATIENCE_SECONDS

pytestmark = [pytest.mark.filterwarnings(words) for words in QUIET]


@contextmanager
def silent() -> Iterator[str]:
    """Give the address of a server that takes every question and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(20)
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


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
def unavailable_reason() -> Iterator[str]:
    """Give an address where nothing is."""
    yield f"http://127.0.0.1:{free_port()}"


def complaints(answer: Answer) -> int:
    return sum("cannot be written" in line for line in answer.lines())


@pytest.mark.parametrize("server", [silent, broken, unavailable_reason])
def test_run_goes_on_without_its_server_with_one_warning(tmp_path: Path, server: object) -> None:
    with server() as uri:  # type: ignore[operator]
        answer = command(
            "run", "--home", tmp_path, *SMALL, "--seeds", 1, "--method", "warm", "--tracking-uri", uri
        )
        assert answer.status == 0, answer
        assert complaints(answer) == 1
        assert "`plastibench sync` brings them later" in answer.err
        assert len(list(tmp_path.rglob("run.json"))) == 1
        refused = command("sync", "--home", tmp_path, "--tracking-uri", uri)
        assert (refused.status, "cannot be written" in refused.lines()[-1]) == (2, True)
        assert not list(tmp_path.glob("*.db"))


def test_server_that_cannot_be_reached_is_noticed_before_pages_are_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish(tmp_path, a_record(0))
    monkeypatch.setattr("plastibench.workflows.sync._pages", lambda *_: pytest.fail("drawn for nobody"))
    with unavailable_reason() as uri:
        refused = command("sync", "--home", tmp_path, "--tracking-uri", uri, "--report")
    assert (refused.status, complaints(refused)) == (2, 1)


def test_end_of_a_run_waits_a_few_seconds_for_a_silent_server(tmp_path: Path) -> None:
    record, said = finish(tmp_path, a_record(0)), list[str]()
    with silent() as uri:
        errand = MirrorJob(TrackingServer.from_uri(uri, tmp_path), {"board": (record.spec,)})
        with BackgroundMirror(errand, said.append) as mirroring:
            while mirroring._until > time.monotonic() + PATIENCE_SECONDS:  # until it has asked the server
                time.sleep(0.01)
            start = time.monotonic()
            mirroring.finish({})
        assert time.monotonic() - start < PATIENCE_SECONDS + 2
    assert len(said) == 1
    assert mirroring.result is None


def test_server_that_is_killed_while_runs_go_on_gets_everything_later(tmp_path: Path) -> None:
    """The method of this test kills the server before its second stage, once the first is there."""
    home, port = tmp_path / "home", free_port()
    uri = f"http://127.0.0.1:{port}"
    with mlflow_server(tmp_path, port) as server:
        hook = (
            "def before_stage(self, learner):\n"
            "    import os, sqlite3, time\n"
            "    end = time.monotonic() + 60\n"
            "    while time.monotonic() < end:\n"
            "        time.sleep(0.1)\n"
            f"        found = sqlite3.connect({str(tmp_path / 'server.db')!r}).execute(\n"
            "            \"SELECT value FROM metrics WHERE key = 'test_accuracy'\").fetchall()\n"
            "        if found:\n"
            f"            os.killpg({server.pid}, 9)\n"
            "            return\n"
        )
        file = plugin(tmp_path, "mine", hook)
        words = (
            "--home",
            home,
            *SMALL,
            "--seeds",
            1,
            "--plugin",
            file,
            "--method",
            "mine",
            "--tracking-uri",
            uri,
        )
        answer = command("run", *words)
        assert server.wait(timeout=10) != 0
    assert answer.status == 0, answer
    assert complaints(answer) == 1
    with mlflow_server(tmp_path, port):
        later = command("sync", "--home", home, "--tracking-uri", uri)
        assert "MLflow: 1 of 1 runs brought up to date" in later.err, later
        again = command("sync", "--home", home, "--tracking-uri", uri)
        assert "MLflow: 0 of 1 runs brought up to date" in again.err, again
        from mlflow import MlflowClient

        client = MlflowClient(tracking_uri=uri)
        experiment = client.get_experiment_by_name("plastibench/quickstart")
        assert experiment is not None
        (child,) = client.search_runs([experiment.experiment_id], "tags.kind = 'run'")
        (record,) = Store(home).records()
        found = client.get_metric_history(child.info.run_id, "test_accuracy")
        assert [(p.step, p.value) for p in found] == [(r["index"], r["test_accuracy"]) for r in record.stages]
        assert [file.path for file in client.list_artifacts(child.info.run_id)] == ["spec.json"]


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    with postgres() as uri:
        yield uri


def test_postgresql_holds_the_mirror(tmp_path: Path, database: str) -> None:
    small_run(tmp_path, "--method", "warm")
    words = ("--home", tmp_path, "--tracking-uri", database)
    assert "1 of 1 runs brought up to date" in command("sync", *words).err
    assert "0 of 1 runs brought up to date" in command("sync", *words).err
    live = command("run", *SMALL, "--seeds", 1, "--method", "warm,cold", *words)
    assert "MLflow: 1 runs added to postgresql+psycopg://" in live.err, live
    assert "0 of 2 runs brought up to date" in command("sync", *words).err


def test_postgresql_that_is_not_there_is_one_warning(tmp_path: Path) -> None:
    pytest.importorskip("psycopg", reason="psycopg is not installed: no driver for PostgreSQL")
    uri = "postgresql://me:secret@127.0.0.1:1/x"
    answer = command(
        "run", "--home", tmp_path, *SMALL, "--seeds", 1, "--method", "warm", "--tracking-uri", uri
    )
    assert (answer.status, complaints(answer)) == (0, 1)
    assert "secret" not in answer.err
