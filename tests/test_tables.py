"""From records to tables: grouping, pairing, sums, forms."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from plastibench.frames import frame
from plastibench.spec import Part, Spec
from plastibench.stats import mean, paired
from plastibench.store import Record
from plastibench.tables import Table, markdown, render, tables

COST = {
    "steps": 10,
    "samples": 100,
    "train_passes": 100,
    "remedy_passes": 0,
    "train_seconds": 1.0,
    "remedy_seconds": 0.25,
    "evaluation_seconds": 0.5,
}
ORIGIN = {
    "device": "a chip",
    "torch": "2.11",
    "plastibench": "0.1",
    "commit": "abc",
    "data": "0123456789abcdef",
}


def spec(method: str, seed: int, **recipe: Any) -> Spec:
    return Spec(
        task=Part("some_task", {"stages": 2, "regime": "accumulate"}, "t"),
        model=Part("some_model", {"width": 4}, "m"),
        recipe={"optimizer": "sgd", "learning_rate": 0.1, "precision": "fp32", **recipe},
        method=Part(method, {"strength": 1.0}, "c"),
        seed=seed,
        device="cpu",
        protocol=1,
    )


def record(method: str, seed: int, accuracies: list[float], status: str = "done", **more: Any) -> Record:
    stages = [{"index": i, "test_accuracy": a, **COST} for i, a in enumerate(accuracies)]
    return Record(spec(method, seed, **more), status, stages, dict(ORIGIN))


RECORDS = [
    record("warm", 0, [0.5, 0.6]),
    record("warm", 1, [0.4, 0.7]),
    record("warm", 2, [0.6, 0.5]),
    record("new", 0, [0.6, 0.7]),
    record("new", 1, [0.5, 0.9]),
    record("new", 2, [0.6, 0.6]),
]


def only(records: list[Record], baseline: str | None = "warm") -> Table:
    (table,) = tables(records, baseline)
    return table


def test_a_row_has_last_stage_and_mean_of_stages() -> None:
    row = next(row for row in only(RECORDS).rows if row.method == "warm")
    assert row.seeds == (0, 1, 2)
    assert row.last.mean == pytest.approx(60)
    assert row.last.sd == pytest.approx(10)
    assert row.average.mean == pytest.approx(55)


def test_gains_are_paired_by_seed() -> None:
    row = next(row for row in only(RECORDS).rows if row.method == "new")
    assert row.gain is not None
    # Of the mean over stages: 65-55, 70-55, 60-55.
    expected = scipy_stats.ttest_rel([65, 70, 60], [55, 55, 55]).confidence_interval(0.95)
    assert row.gain.mean == pytest.approx(10)
    assert (row.gain.low, row.gain.high) == pytest.approx((expected.low, expected.high))


def test_a_seed_without_its_twin_is_in_no_gain() -> None:
    row = next(row for row in only([*RECORDS, record("new", 9, [0.0, 0.0])]).rows if row.method == "new")
    assert row.seeds == (0, 1, 2, 9)
    assert row.gain is not None
    assert row.gain.n == 3


def test_a_diverged_run_is_counted_and_never_averaged() -> None:
    row = next(
        row for row in only([*RECORDS, record("new", 9, [0.1], "diverged")]).rows if row.method == "new"
    )
    assert row.diverged == 1
    assert row.last.n == 3
    assert "3 + 1 diverged" in markdown(only([*RECORDS, record("new", 9, [0.1], "diverged")]))


def test_a_row_leads_to_its_runs() -> None:
    lost = record("new", 9, [0.1], "diverged")
    row = next(row for row in only([*RECORDS[::-1], lost]).rows if row.method == "new")
    assert list(row.runs) == [*RECORDS[3:], lost]


def test_costs_are_summed_over_stages_and_averaged_over_seeds() -> None:
    row = only(RECORDS).rows[0]
    assert row.cost["steps"] == 20
    assert row.cost["remedy_seconds"] == 0.5


@pytest.mark.parametrize(
    "other",
    [
        {"precision": "bf16"},
        {"learning_rate": 0.2},
        {"weight_decay": 0.5},
    ],
)
def test_runs_of_another_setting_are_in_another_table(other: dict[str, Any]) -> None:
    found = tables([*RECORDS, record("new", 0, [0.9, 0.9], **other)], "warm")
    assert sorted(len(table.rows) for table in found) == [1, 2]
    assert found[0].title != found[1].title
    name, value = next(iter(other.items()))
    assert [f"{name}={value}" in table.title for table in found] == [len(table.rows) == 1 for table in found]


@pytest.mark.parametrize("part", ["task", "model"])
def test_runs_of_other_code_are_in_another_table(part: str) -> None:
    changed = replace(RECORDS[0].spec, **{part: replace(getattr(RECORDS[0].spec, part), code="edited")})
    found = tables([*RECORDS, replace(RECORDS[0], spec=changed)], "warm")
    assert [f"{part}.code=edited" in table.title for table in found] == [len(t.rows) == 1 for t in found]


def test_one_name_with_two_settings_shows_what_differs() -> None:
    weak = replace(RECORDS[3].spec, method=Part("new", {"strength": 0.5}, "c"))
    rows = only([*RECORDS, replace(RECORDS[3], spec=weak)]).rows
    assert [row.method for row in rows] == ["new[strength=0.5]", "new[strength=1]", "warm"]


def test_one_seed_has_no_interval() -> None:
    table = only([RECORDS[0], RECORDS[3]])
    assert "+10.00 |" in markdown(table)
    assert math.isnan(table.rows[0].last.sd)


def test_without_the_baseline_there_are_no_gains() -> None:
    table = only([r for r in RECORDS if r.spec.method.name == "new"])
    assert table.baseline is None
    assert "gain" not in markdown(table).split("accuracy on")[0]


def test_markdown_is_as_printed() -> None:
    lines = markdown(only(RECORDS)).splitlines()
    assert lines[2].startswith("| method | n | last stage % | mean of stages % | gain over warm | steps |")
    assert lines[4] == (
        "| new | 3 | 73.33 +- 15.28 | 65.00 +- 5.00 | +10.00 [-2.42, +22.42] | 20 | 200 | 200 | 0 | 3.5 |"
    )
    assert any("device a chip; torch 2.11" in line for line in lines)
    assert any(line.startswith("new: strength=1") for line in lines)


def test_csv_and_json_hold_the_same_numbers() -> None:
    found = tables(RECORDS, "warm")
    rows = list(csv.DictReader(io.StringIO(render(found, "csv"))))
    plain = json.loads(render(found, "json"))[0]["rows"]
    assert [row["method"] for row in rows] == [row["method"] for row in plain] == ["new", "warm"]
    assert float(rows[0]["gain_low"]) == plain[0]["gain"]["low"]
    assert rows[1]["gain_mean"] == ""


def test_a_frame_has_a_row_for_every_stage() -> None:
    found = frame(RECORDS)
    assert len(found) == 12
    assert found.groupby("method")["test_accuracy"].mean().to_dict() == pytest.approx(
        {"new": 0.65, "warm": 0.55}
    )


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=12))
def test_the_mean_lies_inside_its_interval(values: list[float]) -> None:
    found = mean(values)
    assert found.low <= found.mean + 1e-9
    assert found.mean <= found.high + 1e-9
    if found.sd > 1e-6:
        expected = scipy_stats.t.interval(0.95, len(values) - 1, found.mean, scipy_stats.sem(values))
        assert (found.low, found.high) == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_nothing_has_no_mean() -> None:
    assert mean([]).n == 0
    assert paired([]).text() == "-"


def test_the_order_of_records_does_not_matter() -> None:
    assert [markdown(table) for table in tables(RECORDS, "warm")] == [
        markdown(table) for table in tables(RECORDS[::-1], "warm")
    ]
    more = [*RECORDS, record("new", 0, [0.9, 0.9], precision="bf16")]
    assert render(tables(more, "warm"), "md") == render(tables(more[::-1], "warm"), "md")
