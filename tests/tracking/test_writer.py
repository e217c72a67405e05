"""Records written to MLflow, in a real database: whole, once, and again if they have changed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.tracking import a_record, contents, mirror, select

from plastibench import tracking
from plastibench.tracking import TrackingServer, payload
from plastibench.tracking.writer import MlflowWriter


def children(writer: MlflowWriter, leaderboard: str) -> list[Any]:
    return list(writer.client.search_runs([writer.experiment(leaderboard).id], "tags.kind = 'run'"))


def history(writer: MlflowWriter, child: str, name: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in writer.client.get_metric_history(child, name)]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, empty_database: Callable[[Path], None]) -> Path:
    """Return a home folder for the whole module."""
    home = tmp_path_factory.mktemp("höme of runs")
    empty_database(home)
    return home


def test_run_is_written_whole_and_once(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    records = [a_record(0), a_record(1, words="w" * 9000, many=tuple(range(5000)))]
    writer = mirror(home, "board", *records)
    before = contents(home)
    mirror(home, "board", *records, a_record(0))
    assert contents(home) == before
    first = next(run for run in children(writer, "board") if run.data.tags["seed"] == "0")
    assert len(children(writer, "board")) == 2
    assert first.data.tags["run_id"] == records[0].id == first.data.tags["spec_hash"][:16]
    assert first.data.tags["mlflow.parentRunId"] == writer.experiment("board").parent
    assert first.data.tags["data"] == "d" * 64
    assert first.data.tags["condition_id"] == f"{records[0].condition_id}-{'d' * 12}"
    assert (first.data.params["mine.strength"], first.data.params["method"]) == ("0.123456789", "mine")
    assert history(writer, first.info.run_id, "test_accuracy") == [(0, 0.25), (1, 0.5), (2, 0.75)]
    assert first.data.metrics["test_accuracy_mean"] == 0.5
    assert first.data.metrics["total_passes"] == 3.0
    (data,) = first.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("x", "d" * 36)
    assert [file.path for file in writer.client.list_artifacts(first.info.run_id)] == ["spec.json"]
    assert first.info.artifact_uri.startswith(home.resolve().as_uri())
    assert list(tmp_path.iterdir()) == [], "MLflow wrote into the current directory"


def test_unfinished_run_continues_without_a_doubled_point(home: Path) -> None:
    record, killed = a_record(0), MlflowWriter(TrackingServer.from_uri(None, home))
    with killed.session():
        child = killed.write_stages(killed.experiment("killed"), record.spec, record.stages[:2])
        # As if the process had died after the points of a stage, before the tag with their digest.
        killed.log(child.id, payload.stage_points(record.stages, child.start_time, 2))
    again = mirror(home, "killed", record)
    (finished,) = children(again, "killed")
    assert (finished.info.run_id, finished.info.status) == (child.id, "FINISHED")
    assert history(again, child.id, "test_accuracy") == [(0, 0.25), (1, 0.5), (2, 0.75)]
    assert again.experiment("killed").parent == killed.experiment("killed").parent


def test_run_with_other_numbers_replaces_the_old_one(home: Path) -> None:
    old, new = a_record(0), a_record(0)
    new.stages[1]["train_seconds"] = 7.0
    killed = MlflowWriter(TrackingServer.from_uri(None, home))
    with killed.session():
        killed.write_stages(killed.experiment("other"), old.spec, old.stages[:2])
    again = mirror(home, "other", new)
    (finished,) = children(again, "other")
    assert history(again, finished.info.run_id, "train_seconds") == [(0, 0.25), (1, 7.0), (2, 0.75)]
    with_commit = replace(new, provenance={**new.provenance, "commit": "abc"})
    (finished,) = children(mirror(home, "other", with_commit), "other")
    assert finished.data.tags["commit"] == "abc"


def test_measurement_with_a_name_that_mlflow_forbids_is_written(home: Path) -> None:
    record = a_record(0)
    for row in record.stages:
        row["rank.effective (99 %), a/b"] = 7.0
    (child,) = children(mirror(home, "forbidden", record), "forbidden")
    assert child.data.metrics["rank.effective _99 ___ a_b"] == 7.0


def test_run_that_a_user_deleted_comes_back(home: Path) -> None:
    writer = mirror(home, "deleted", a_record(0))
    (child,) = children(writer, "deleted")
    writer.client.delete_run(child.info.run_id)
    (back,) = children(mirror(home, "deleted", a_record(0)), "deleted")
    assert back.info.run_id != child.info.run_id


def test_leaderboards_are_listed_with_links(home: Path) -> None:
    server = TrackingServer.from_uri(None, home)
    writer = mirror(home, "listed")
    with writer.session():
        experiment = writer.experiment("listed").id
    links = tracking.leaderboard_links(server)
    assert links["listed"].startswith(f"#/experiments/{experiment}/runs?viewStateShareKey=")
    writer.client.delete_experiment(experiment)
    assert "listed" not in tracking.leaderboard_links(server)
    assert children(mirror(home, "listed", a_record(0)), "listed"), "a deleted leaderboard comes back"


@pytest.mark.heavy
@pytest.mark.slow
def test_four_processes_that_create_the_tables_do_not_race(tmp_path: Path) -> None:
    source = (
        "import sys; from pathlib import Path; from support.tracking import mirror, a_record\n"
        "mirror(Path(sys.argv[1]), 'board', a_record(int(sys.argv[2])), a_record(9))"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", source, str(tmp_path / "home"), str(seed)],
            cwd=Path(__file__).parents[1],
            stderr=subprocess.PIPE,
            text=True,
        )
        for seed in range(4)
    ]
    assert [(process.communicate(timeout=600)[1], process.returncode) for process in processes] == [
        ("", 0)
    ] * 4
    runs = select(tmp_path / "home", "SELECT value FROM tags WHERE key = 'run_id'")
    assert sorted(run for (run,) in runs) == sorted(a_record(seed).id for seed in (0, 1, 2, 3, 9))
