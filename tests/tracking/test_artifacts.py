"""Artifacts that the client cannot store cost no number: MLflow has every run, and one warning says why."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.commands import SMALL, CommandResult, command
from support.servers import mlflow_server
from support.tracking import a_record, save
from support.tuning import NAME, small_tune
from support.workers import free_port

from plastibench.store import leaderboards
from plastibench.tracking import TrackingServer

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run a server whose clients store artifacts themselves, where they cannot."""
    port = free_port()
    options = ("--no-serve-artifacts", "--default-artifact-root", "/dev/null/x")
    with mlflow_server(tmp_path_factory.mktemp("server"), port, *options):
        yield f"http://127.0.0.1:{port}"


def statuses(uri: str, name: str) -> list[tuple[str, str]]:
    """Return the kind and the status of each MLflow run of an experiment."""
    client = TrackingServer.from_uri(uri, Path("/nowhere")).connect()
    experiment = client.get_experiment_by_name(f"plastibench/{name}")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    return sorted((run.data.tags["kind"], run.info.status) for run in runs)


def check_warning(answer: CommandResult, reason: str = "Not a directory: /dev/null") -> None:
    (warning,) = (line for line in answer.lines() if "cannot store artifacts" in line)
    assert reason in warning


@pytest.mark.slow
def test_live_mirror_has_every_run(server: str, tmp_path: Path) -> None:
    words = ("--home", tmp_path, "--tracking-uri", server)
    answer = command("run", *SMALL, "--seeds", 2, "--method", "warm", *words)
    assert answer.status == 0, answer
    assert "MLflow: 2 runs added" in answer.err
    check_warning(answer)
    assert statuses(server, "quickstart") == [
        ("aggregate", "FINISHED"),
        ("leaderboard", "FINISHED"),
        *[("run", "FINISHED")] * 2,
    ]
    again = command("sync", *words)
    assert (again.status, "0 of 2 runs brought up to date" in again.err) == (0, True), again


def test_sync_has_every_run_and_fails_only_if_files_were_asked_for(server: str, tmp_path: Path) -> None:
    for seed in range(3):
        save(tmp_path, a_record(seed))
    words = ("--home", tmp_path, "--tracking-uri", server.replace("://", "://me:s3cret@"))
    answer = command("sync", *words)
    assert answer.out == "", "MLflow's client prints addresses"
    assert "s3cret" not in answer.err
    assert (answer.status, "3 of 3 runs brought up to date" in answer.err) == (0, True), answer
    check_warning(answer)
    assert statuses(server, "x") == [
        ("aggregate", "FINISHED"),
        ("leaderboard", "FINISHED"),
        *[("run", "FINISHED")] * 3,
    ]
    (tmp_path / "page.html").write_text("<p>hello</p>")
    attached = command("sync", *words, "--attach", tmp_path / "page.html")
    assert attached.status == 1, attached
    check_warning(attached)


def test_tuning_has_every_trial(server: str, tmp_path: Path) -> None:
    assert small_tune(tmp_path, "--method", "shrink_perturb", "--trials", 2).status == 0
    answer = command("sync", "--home", tmp_path, "--tracking-uri", server, NAME)
    assert (answer.status, "2 trials" in answer.err) == (0, True), answer
    check_warning(answer)
    states = statuses(server, f"tuning/{NAME}")
    assert [kind for kind, _ in states] == ["leaderboard", "study", "trial", "trial"]
    assert "RUNNING" not in dict(states).values()


@pytest.mark.slow
def test_absent_library_of_an_artifact_store_is_named(server: str, tmp_path: Path) -> None:
    client = TrackingServer.from_uri(server, tmp_path).connect()
    client.create_experiment("plastibench/bucket", "s3://bucket/x")
    leaderboards.add_runs(tmp_path, "bucket", [save(tmp_path, a_record(seed)).id for seed in (5, 6)])
    answer = command("sync", "--home", tmp_path, "--tracking-uri", server, "bucket")
    assert (answer.status, "2 of 2 runs brought up to date" in answer.err) == (0, True), answer
    check_warning(answer, "No module named 'boto3'")
