"""MLFLOW_TRACKING_URI may be meant for other programs: its value is used if it can be, and never refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.commands import SMALL, CommandResult, command
from support.tracking import a_record, save
from support.workers import free_port

from plastibench.tracking import DATABASE, TrackingServer

UNUSABLE = (
    "file:./mlruns",
    "./mlruns",
    "databricks",
    "databricks://profile",
    "nonsense\n",
    "postgresql://me:p@ss:hunter2@127.0.0.1:1/db",
)
"""Values that other programs take, or that are wrong."""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def check_replaced(answer: CommandResult, home: Path) -> None:
    """Check that one warning names the variable, and that the database in the home folder was used."""
    (warning,) = (line for line in answer.lines() if "MLFLOW_TRACKING_URI" in line)
    assert "is ignored (" in warning
    assert "hunter2" not in answer.out + answer.err
    assert (home / DATABASE).is_file()
    assert not Path("mlruns").exists()


@pytest.mark.parametrize("uri", UNUSABLE)
def test_value_that_is_no_address_is_replaced(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert TrackingServer.choose(None, tmp_path) == TrackingServer.from_uri(None, tmp_path)
    (warning,) = caplog.messages
    assert warning.startswith("MLFLOW_TRACKING_URI is ignored (tracking address")
    assert "hunter2" not in warning


@pytest.mark.heavy
@pytest.mark.parametrize(
    "uri", ["file:./mlruns", pytest.param("sqlite:////proc/none/x.db", marks=pytest.mark.slow)]
)
def test_sync_replaces_a_value_that_cannot_be_used(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_database: Callable[[Path], None]
) -> None:
    empty_database(tmp_path / "home")
    save(tmp_path / "home", a_record(0))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    answer = command("sync", "--home", tmp_path / "home")
    assert (answer.status, "MLflow: 1 of 1 run brought up to date" in answer.err) == (0, True), answer
    check_replaced(answer, tmp_path / "home")


@pytest.mark.heavy
def test_run_replaces_a_server_that_is_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_database: Callable[[Path], None]
) -> None:
    empty_database(tmp_path / "home")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    answer = command("run", "--home", tmp_path / "home", *SMALL, "--seeds", 1, "--method", "warm")
    assert (answer.status, "MLflow: 1 run added to sqlite://" in answer.err) == (0, True), answer
    check_replaced(answer, tmp_path / "home")


def test_a_value_that_was_asked_for_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("run", "--home", tmp_path / "home", *SMALL)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///other.db")
    refused = command(*words, "--tracking-uri", "file:./mlruns")
    monkeypatch.setenv("PLASTIBENCH_TRACKING_URI", "databricks")
    for answer in (refused, command(*words)):
        assert (answer.status, len(answer.lines())) == (2, 1), answer
        assert "tracking address" in answer.err
        assert not (tmp_path / "home").exists()


@pytest.mark.heavy
def test_a_value_that_can_be_used_is_used_without_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_database: Callable[[Path, str], None]
) -> None:
    empty_database(tmp_path, "other.db")
    save(tmp_path / "home", a_record(0))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///other.db")
    answer = command("sync", "--home", tmp_path / "home")
    assert "MLflow: 1 of 1 run brought up to date in sqlite:///other.db" in answer.err
    assert "MLFLOW_TRACKING_URI" not in answer.err
    assert not (tmp_path / "home" / DATABASE).exists()


def test_page_of_the_home_folder_is_served_in_place_of_a_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    assert TrackingServer.choose(None, tmp_path).uri == "http://127.0.0.1:1"
    answer = command("ui", "--home", tmp_path)
    assert answer.status == 2
    assert "is a server with a page of its own" in answer.lines()[0]
    assert "no MLflow database in" in answer.lines()[1]
