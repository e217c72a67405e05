"""MLflow's page: on this machine only, and stopped with every process it started."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest
from support.commands import command, program
from support.tracking import empty_database

from plastibench import tracking
from plastibench.tracking import TrackingServer
from plastibench.workflows import ui


def a_store(home: Path) -> None:
    """Make what MLflow's server itself brings up to date."""
    from mlflow import MlflowClient

    shutil.copy(empty_database(), home / tracking.DATABASE)
    client = MlflowClient(tracking_uri=TrackingServer.from_uri(None, home).uri)
    client.create_experiment("plastibench/board", artifact_location=(home / "x").as_uri())


def test_page_needs_a_database(tmp_path: Path) -> None:
    answer = command("ui", "--home", tmp_path)
    assert (answer.status, len(answer.lines())) == (2, 1)
    assert "no MLflow database in" in answer.err


def test_port_in_use_prints_one_line(tmp_path: Path) -> None:
    (tmp_path / tracking.DATABASE).touch()
    with socket.socket() as taken:
        taken.bind((ui.HOST, 0))
        taken.listen()
        answer = command("ui", "--home", tmp_path, "--port", taken.getsockname()[1])
    assert (answer.status, len(answer.lines())) == (2, 1)
    assert "cannot be used: Address already in use" in answer.err


def test_links_are_read_without_mlflow_and_may_be_missing(tmp_path: Path) -> None:
    assert tracking.leaderboard_links(TrackingServer.from_uri(None, tmp_path)) == {}
    with sqlite3.connect(tmp_path / tracking.DATABASE) as store:
        store.execute("CREATE TABLE experiments (name TEXT, experiment_id INTEGER, lifecycle_stage TEXT)")
        store.execute("INSERT INTO experiments VALUES ('plastibench/a', 4, 'active'), ('other', 5, 'active')")
    store.close()
    found = tracking.leaderboard_links(TrackingServer.from_uri(None, tmp_path))
    assert list(found) == ["a"]
    assert found["a"].startswith("#/experiments/4/runs?")


@pytest.mark.heavy
@pytest.mark.filterwarnings("ignore")  # MLflow's own
@pytest.mark.parametrize("sign", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_page_is_served_on_this_machine_only_and_leaves_no_process(
    sign: signal.Signals, tmp_path: Path
) -> None:
    a_store(tmp_path)
    words = program("ui", "--home", tmp_path)
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "http_proxy": "http://127.0.0.1:1"}
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as page:
        assert page.stdout is not None
        first, second = page.stdout.readline(), page.stdout.readline()
        address = first.split()[1]
        assert address.startswith("http://127.0.0.1:")
        assert second.startswith(f"  board, best first: {address}/#/experiments/1/runs?viewStateShareKey=")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        assert opener.open(f"{address}/health", timeout=120).status == 200
        family = _descendants(page.pid)
        assert family
        page.send_signal(sign)
        out, err = page.communicate(timeout=300)
    assert (page.returncode, out, err) == (0, "", "")
    end = time.monotonic() + 20
    while any(_alive(pid) for pid in family):
        assert time.monotonic() < end, "a process is left"
        time.sleep(0.1)


def _descendants(pid: int) -> list[int]:
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = {int(child): int(parent) for child, parent in (line.split() for line in listed.splitlines())}
    found = [pid]
    for known in found:
        found += [child for child, parent in parents.items() if parent == known]
    return found[1:]


def _alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()
