"""MLflow's server dies in the middle of a run: the run does not notice, and `sync` brings what is missing."""

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
    doomed,
    ended,
    grid,
    mirrored_runs,
    same_as_undisturbed,
    starts,
    undisturbed,
    wait_for,
)
from support.servers import mlflow_server, stop
from support.workers import free_port

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow's own

WORDS = grid("warm", seeds=3)


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
        with mlflow_server(tmp_path, port) as process:
            words = ("run", "--tracking-uri", uri, "--home", home, "--jobs", 1, *WORDS)
            running = doomed({}, *words)
            wait_for(lambda: starts(home), running)
            time.sleep(random.Random(number).uniform(0, 2))
            stop(process)
            status, said = ended(running)
        assert status == 0, said
        assert said.count("cannot be written") == 1, said
        same_as_undisturbed(home, WORDS)
        with mlflow_server(tmp_path, port):
            first = command("sync", "--tracking-uri", uri, "--home", home)
            assert first.status == 0, first.err
            assert mirrored_runs(there) == sorted(undisturbed(WORDS))
            before = dump(there)
            assert command("sync", "--tracking-uri", uri, "--home", home).status == 0
            assert dump(there) == before
