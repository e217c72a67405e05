"""MLflow's server dies during a run: the run is not affected, and `sync` adds what is missing."""

from __future__ import annotations

import random
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from support.commands import command
from support.faults import (
    Trial,
    grid,
    mirrored_runs,
    same_as_undisturbed,
    start_with_fault,
    starts,
    undisturbed,
    wait_for,
    wait_for_exit,
)
from support.servers import mlflow_server, stop
from support.workers import free_port

pytestmark = [pytest.mark.heavy, pytest.mark.filterwarnings("ignore")]  # MLflow's own warnings

ARGS = grid("warm", seeds=3)


def dump(database: Path) -> list[str]:
    with closing(sqlite3.connect(database)) as store:
        return list(store.iterdump())


@pytest.mark.times(short=0, full=3)
def test_killed_server_costs_one_line_and_sync_adds_the_rest(
    number: int, tmp_path: Path, trial: Trial, database: bytes
) -> None:
    home, server_database, port = tmp_path / "home", tmp_path / "server.db", free_port()
    server_database.write_bytes(database)
    uri = f"http://127.0.0.1:{port}"
    with trial("MLflow's server killed in the middle of a run"):
        with mlflow_server(tmp_path, port) as process:
            args = ("run", "--tracking-uri", uri, "--home", home, "--jobs", 1, *ARGS)
            running = start_with_fault({}, *args)
            wait_for(lambda: starts(home), running)
            time.sleep(random.Random(number).uniform(0, 2))
            stop(process)
            status, stderr = wait_for_exit(running)
        assert status == 0, stderr
        assert stderr.count("cannot be written") == 1, stderr
        same_as_undisturbed(home, ARGS)
        with mlflow_server(tmp_path, port):
            first = command("sync", "--tracking-uri", uri, "--home", home)
            assert first.status == 0, first.err
            assert mirrored_runs(server_database) == sorted(undisturbed(ARGS))
            before = dump(server_database)
            assert command("sync", "--tracking-uri", uri, "--home", home).status == 0
            assert dump(server_database) == before
