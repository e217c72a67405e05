"""Rows of a leaderboard's tables as MLflow runs: first on the page, up to date, and never taken for runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.commands import command
from support.reports import a_home, a_run, some_runs
from support.tracking import WHEN, contents

from plastibench.experiments.spec import Part
from plastibench.store import leaderboards
from plastibench.store.record import Record
from plastibench.tracking import TrackingServer
from plastibench.tracking.aggregates import Aggregate, write_aggregates
from plastibench.tracking.follower import MirrorJob, StoreFollower
from plastibench.tracking.leaderboard import leaderboard_tables
from plastibench.tracking.writer import MlflowWriter

TIMES = {"started": WHEN, "finished": WHEN}


def timed(records: Sequence[Record]) -> list[Record]:
    return [replace(record, provenance={**record.provenance, **TIMES}) for record in records]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, empty_database: Callable[[Path], None]) -> Path:
    """Return a home folder for the whole module; each test has a leaderboard of its own."""
    home = tmp_path_factory.mktemp("home")
    empty_database(home)
    return home


class Board:
    """A leaderboard in MLflow, as a process that then ends writes it and another one reads it."""

    def __init__(self, home: Path, name: str) -> None:
        self.home = home
        self.name = name

    def write(self, records: Sequence[Record]) -> None:
        writer = MlflowWriter(TrackingServer.from_uri(None, self.home))
        with writer.session():
            experiment = writer.experiment(self.name)
            for record in timed(records):
                writer.write_record(experiment, record)
            writer.close()
            write_aggregates(writer, experiment, leaderboard_tables(timed(records)))

    @property
    def client(self) -> Any:
        return TrackingServer.from_uri(None, self.home).connect()

    @property
    def experiment(self) -> Any:
        return self.client.get_experiment_by_name(f"plastibench/{self.name}")

    def runs(self, query: str = "", order_by: Sequence[str] = ()) -> list[Any]:
        return list(self.client.search_runs([self.experiment.experiment_id], query, order_by=list(order_by)))

    def aggregates(self) -> dict[str, Any]:
        """Return the aggregates by the name of their method."""
        return {run.data.tags["method"]: run for run in self.runs("tags.kind = 'aggregate'")}


@pytest.mark.heavy
def test_an_aggregate_has_what_its_row_has(home: Path) -> None:
    board, records = Board(home, "whole"), some_runs(3)
    board.write(records)
    rows = {row.method: row for row in leaderboard_tables(records)[0].rows}
    found = board.aggregates()
    assert set(found) == {"warm", "cold", "mine"}
    metrics, row = found["mine"].data.metrics, rows["mine"]
    gain = row.gains["warm"].estimate
    assert metrics["n"] == 3
    estimates = {
        "average_accuracy": row.average,
        "gain_over_warm": gain,
        "gain_over_cold": row.gains["cold"].estimate,
    }
    for name, estimate in estimates.items():
        shown = [metrics[f"{name}{end}"] for end in ("", "_low", "_high")]
        expected = [estimate.mean, estimate.low, estimate.high]
        assert shown == pytest.approx(expected, abs=1e-4)
    costs = [metrics[f"total_{name}"] for name in ("passes", "seconds")]
    assert costs == pytest.approx([row.cost["passes"], row.cost["seconds"]], rel=1e-8)
    assert "gain_over_warm" not in found["warm"].data.metrics
    assert found["mine"].data.params["mine.strength"] == "1.0"
    assert "seed" not in found["mine"].data.params
    assert found["mine"].info.run_name == "3 seeds: mine"


def test_an_aggregate_of_tuned_settings_has_what_the_tuning_took() -> None:
    origin = {"study": "s", "trials": 8, "trial": 3, "passes": 12345.0, "seconds": 60.5}
    records = [
        record.with_provenance(tuned=origin) if record.spec.method.name == "mine" else record
        for record in some_runs(2)
    ]
    (table,) = leaderboard_tables(records)
    found = {row.method: Aggregate(table, row) for row in table.rows}
    tuned = found["mine (tuned, 8 trials)"]
    assert tuned.name == "2 seeds: mine (tuned, 8 trials)"
    named = {name: value for name, value in tuned.metrics.items() if name.startswith("tuning")}
    assert named == {"tuning_passes": 12345.0, "tuning_seconds": 60.5}
    assert not any(name.startswith("tuning") for name in found["warm"].metrics)


@pytest.mark.heavy
def test_the_page_lists_aggregates_first_best_first_and_then_the_runs(home: Path) -> None:
    board = Board(home, "order")
    board.write(some_runs(2))
    view = json.loads(board.experiment.tags["mlflow.sharedViewState.plastibench"])
    assert view["orderByAsc"] is False
    ordered = board.runs(order_by=[f"{view['orderByKey']} DESC"])
    kinds = [run.data.tags["kind"] for run in ordered]
    assert kinds[:3] == ["aggregate"] * 3
    assert sorted(kinds[3:]) == ["leaderboard", *["run"] * 6]
    means = [run.data.metrics["average_accuracy"] for run in ordered[:3]]
    assert means == sorted(means, reverse=True)
    by_name = board.runs("tags.kind != 'leaderboard'", order_by=["attributes.run_name ASC"])
    assert [run.data.tags["kind"] for run in by_name] == ["aggregate"] * 3 + ["run"] * 6
    unsorted = [run.data.tags for run in board.runs()]  # as the page is without a view: newest first, nested
    assert [tags["kind"] for tags in unsorted if "mlflow.parentRunId" not in tags][:3] == ["aggregate"] * 3
    assert {"metrics.`gain_over_warm`", "metrics.`total_flops`", "params.`mine.strength`"} <= {
        *view["selectedColumns"]
    }


@pytest.mark.heavy
def test_aggregates_are_updated_in_place_and_written_once(home: Path) -> None:
    board = Board(home, "updated")
    board.write(some_runs(2))
    first, before = board.aggregates(), contents(home)
    board.write(some_runs(2))
    assert contents(home) == before
    board.write(some_runs(3))
    second = board.aggregates()
    assert {name: run.info.run_id for name, run in second.items()} == {
        name: run.info.run_id for name, run in first.items()
    }
    expected = {row.method: row.average.mean for row in leaderboard_tables(some_runs(3))[0].rows}
    shown = {name: run.data.metrics["average_accuracy"] for name, run in second.items()}
    assert shown == pytest.approx(expected, abs=1e-4)
    assert second["warm"].info.run_name == "3 seeds: warm"


@pytest.mark.heavy
def test_a_row_that_is_gone_or_has_lost_a_reference_is_replaced(home: Path) -> None:
    board = Board(home, "replaced")
    board.write(some_runs(2))
    before = board.aggregates()
    board.write(some_runs(2, ("warm", "mine")))
    after = board.aggregates()
    assert set(after) == {"warm", "mine"}
    assert "gain_over_cold" not in after["mine"].data.metrics
    assert after["mine"].info.run_id != before["mine"].info.run_id
    board.client.delete_run(after["warm"].info.run_id)  # by a user: it comes back
    board.write(some_runs(2, ("warm", "mine")))
    assert set(board.aggregates()) == {"warm", "mine"}


@pytest.mark.heavy
def test_variants_and_settings_have_aggregates_of_their_own(home: Path) -> None:
    board = Board(home, "variants")
    mine = [a_run("mine", seed, task=task) for seed in range(2) for task in ("some_task", "other_task")]
    strong = Part("mine", {"strength": 2.0}, "c")
    stronger = [replace(run, spec=replace(run.spec, method=strong)) for run in mine[::2]]
    board.write([*mine, *stronger])
    found = {
        (run.data.tags["task"], run.data.params["mine.strength"])
        for run in board.runs("params.model != ''")
        if run.data.tags["kind"] == "aggregate"
    }
    assert found == {("some_task", "1.0"), ("some_task", "2.0"), ("other_task", "1.0")}


@pytest.mark.heavy
def test_two_home_folders_on_one_server_leave_each_other_alone(home: Path, tmp_path: Path) -> None:
    uri = TrackingServer.from_uri(None, home).uri
    for folder, seeds in ((tmp_path / "one", 2), (tmp_path / "two", 3), (tmp_path / "one", 2)):
        writer = MlflowWriter(TrackingServer.from_uri(uri, folder))
        with writer.session():
            write_aggregates(writer, writer.experiment("shared"), leaderboard_tables(some_runs(seeds)))
    counts = [run.data.metrics["n"] for run in Board(home, "shared").runs("tags.kind = 'aggregate'")]
    assert sorted(counts) == [2, 2, 2, 3, 3, 3]


def test_aggregates_are_there_while_runs_are_still_executed(
    tmp_path: Path, empty_database: Callable[[Path], None]
) -> None:
    empty_database(tmp_path)
    runs = timed(some_runs(2, ("warm",)))
    specs = [run.spec for run in runs]
    leaderboards.add_runs(tmp_path, "live", [spec.id for spec in specs])
    job = MirrorJob(TrackingServer.from_uri(None, tmp_path), {"live": specs})
    follower = StoreFollower(job, on_run=lambda: None, aggregate_seconds=0.0)
    a_home(tmp_path, runs[:1])
    follower.update()
    assert Board(tmp_path, "live").aggregates()["warm"].data.metrics["n"] == 1
    a_home(tmp_path, runs[1:])
    follower.update()
    follower.finish(attach=False)
    assert Board(tmp_path, "live").aggregates()["warm"].data.metrics["n"] == 2


@pytest.mark.heavy
def test_sync_writes_aggregates_once_and_counts_them_as_no_run(
    tmp_path: Path, empty_database: Callable[[Path], None]
) -> None:
    empty_database(tmp_path)
    a_home(tmp_path, timed(some_runs(2)))
    answer = command("sync", "--home", tmp_path)
    assert "MLflow: 6 of 6 runs brought up to date" in answer.err, answer
    assert len(Board(tmp_path, "some_task").aggregates()) == 3
    before = contents(tmp_path)
    again = command("sync", "--home", tmp_path)
    assert "MLflow: 0 of 6 runs brought up to date" in again.err, again
    assert contents(tmp_path) == before
    one = next(tmp_path.rglob("run.json")).parent.name
    assert command("sync", "--home", tmp_path, one).status == 0, "a part of a leaderboard"
    assert contents(tmp_path) == before
    store, mirror = (
        command("table", "--home", folder, "--format", "json", *words)
        for folder, words in (
            (tmp_path, ()),
            ("/nowhere", ("--from", TrackingServer.from_uri(None, tmp_path).uri)),
        )
    )
    assert store == mirror
