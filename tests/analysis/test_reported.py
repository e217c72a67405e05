"""What a method reports by `learner.log` is in its record, the data frame, MLflow and the report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.commands import plugin, small_run
from support.reports import a_run, some_runs

from plastibench.analysis.dataframe import to_dataframe
from plastibench.analysis.report.page import render_page
from plastibench.analysis.tables.reported import reported_table
from plastibench.analysis.tables.table import build_tables
from plastibench.store.record import Record
from plastibench.store.run_store import Store
from plastibench.tracking.payload import stage_points


def reporting(record: Record, values: list[float | None]) -> Record:
    stages: list[dict[str, Any]] = [
        {**stage, "log.units_recycled": value} for stage, value in zip(record.stages, values, strict=True)
    ]
    return replace(record, stages=stages)


@pytest.mark.heavy
def test_the_report_shows_mean_and_last_stage_over_seeds() -> None:
    runs = [reporting(a_run("mine", 0), [2, 4, 6]), reporting(a_run("mine", 1), [4, None, 10])]
    (table,) = build_tables([*some_runs(2, ["warm", "cold"]), *runs], "warm")
    found = reported_table(table)
    assert found is not None
    assert [[cell.text for cell in row] for row in found.rows] == [
        ["mine", "units_recycled", "5.5 +- 2.121", "8 +- 2.828"]
    ]
    page = render_page([table], "a page")
    assert "Numbers that methods report of their stages" in page
    assert "units_recycled" in page


@pytest.mark.heavy
def test_without_reports_there_is_no_such_table() -> None:
    (table,) = build_tables(some_runs(), "warm")
    assert reported_table(table) is None
    assert "Numbers that methods report" not in render_page([table], "a page")


def test_a_number_that_was_not_measured_in_any_stage_is_a_dash() -> None:
    (table,) = build_tables([*some_runs(1), reporting(a_run("silent", 0), [None, None, None])], "warm")
    found = reported_table(table)
    assert found is not None
    assert [cell.text for cell in found.rows[0]] == ["silent", "units_recycled", "-", "-"]


def test_a_report_is_in_the_record_the_frame_and_mlflow_and_changes_no_id(tmp_path: Path) -> None:
    body = 'def after_step(self, learner: Learner) -> None:\n    learner.log("steps_taken", 1, "sum")'
    home, file = tmp_path / "home", plugin(tmp_path, "mine", body)
    done = small_run(home, "--plugin", file, "--method", "mine")
    assert done.status == 0, done.err
    (record,) = Store(home).records()
    assert record.id == record.spec.id
    assert all(stage["log.steps_taken"] == stage["steps"] for stage in record.stages)
    frame = to_dataframe([record])
    assert frame["log.steps_taken"].tolist() == frame["steps"].tolist()
    points = [point for point in stage_points(record.stages, 0) if point.key == "log.steps_taken"]
    assert [point.value for point in points] == frame["steps"].tolist()


def test_a_report_with_a_bad_name_fails_the_run_in_one_line(tmp_path: Path) -> None:
    body = 'def start(self, learner: Learner) -> None:\n    learner.log("steps taken", 1)'
    file = plugin(tmp_path, "mine", body)
    done = small_run(tmp_path / "home", "--plugin", file, "--method", "mine")
    assert done.status == 1  # a fault of the run, not of the request
    assert "learner.log takes no name 'steps taken'" in done.err
