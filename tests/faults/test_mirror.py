"""MLflow's server dies in the middle of a run: the run does not notice, and `sync` brings what is missing."""

from __future__ import annotations

import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from support.commands import command
from support.faults import (
    Trial,
    doomed,
    ended,
    grid,
    mirrored_runs,
    same_as_undisturbed,
    starts,
    undisturbed,
    wait_for,
)

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow's own

WORDS = grid("warm", seeds=3)


@contextmanager
def server(database: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Start MLflow's server on this machine alone; it answers when this yields."""
    words = ["server", "--backend-store-uri", f"sqlite:///{database}", "--host", "127.0.0.1"]
    words += [
        "--port",
        str(port),
        "--workers",
        "1",
        "--default-artifact-root",
        str(database.parent / "files"),
    ]
    environment = {
        **os.environ,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    with (database.parent / "log").open("ab") as log:
        asked = [sys.executable, "-m", "mlflow", *words]
        process = subprocess.Popen(asked, stdout=log, stderr=log, env=environment, start_new_session=True)
    try:
        end = time.monotonic() + 120
        while not answers(port):
            assert process.poll() is None, (database.parent / "log").read_text()
            assert time.monotonic() < end
            time.sleep(0.2)
        yield process
    finally:
        stop(process)


def answers(port: int) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        return bool(opener.open(f"http://127.0.0.1:{port}/health", timeout=5).status == 200)
    except OSError:
        return False


def stop(process: subprocess.Popen[bytes]) -> None:
    """Kill the server and whatever it started, at once."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def dump(database: Path) -> list[str]:
    with closing(sqlite3.connect(database)) as store:
        return list(store.iterdump())


@pytest.mark.times(short=0, full=3)
def test_server_that_is_killed_costs_a_line_and_sync_brings_the_rest(
    number: int, tmp_path: Path, trial: Trial, database: bytes
) -> None:
    home, there, port = tmp_path / "home", tmp_path / "server.db", free_port()
    there.write_bytes(database)
    uri = f"http://127.0.0.1:{port}"
    with trial("MLflow's server killed in the middle of a run"):
        with server(there, port) as process:
            words = ("run", "--tracking", uri, "--home", home, "--jobs", 1, *WORDS)
            running = doomed({}, *words)
            wait_for(lambda: starts(home), running)
            time.sleep(random.Random(number).uniform(0, 2))
            stop(process)
            status, said = ended(running)
        assert status == 0, said
        assert said.count("cannot be written") == 1, said
        same_as_undisturbed(home, WORDS)
        with server(there, port):
            first = command("sync", "--tracking", uri, "--home", home)
            assert first.status == 0, first.err
            assert mirrored_runs(there) == sorted(undisturbed(WORDS))
            before = dump(there)
            assert command("sync", "--tracking", uri, "--home", home).status == 0
            assert dump(there) == before
