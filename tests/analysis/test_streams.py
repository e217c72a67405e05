"""Stationary arrival and shifting targets: two losses, which no table mixes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from support.commands import small_run
from support.reports import a_run

from plastibench.analysis.figures.aggregate import missing_figures
from plastibench.analysis.tables.aggregate import aggregate, by_stream
from plastibench.analysis.tables.export import format_tables
from plastibench.analysis.tables.table import build_tables
from plastibench.experiments.spec import Part
from plastibench.store.record import Record


def shifting(record: Record) -> Record:
    spec = replace(record.spec, regime=Part("pairs", {}, "r"), shifts_targets=True)
    return replace(record, spec=spec)


def runs(*tasks: str) -> list[Record]:
    return [a_run(method, seed, task) for task in tasks for method in ("warm", "cold") for seed in range(3)]


def test_settings_with_shifting_targets_have_an_aggregate_of_their_own() -> None:
    records = [*runs("a", "b"), *map(shifting, runs("c", "d", "e"))]
    tables = build_tables(records, "warm")
    assert [len(group) for group in by_stream(tables)] == [2, 3]
    titles = [shown.title for shown in format_tables(tables)][len(tables) :]
    assert titles == ["over 2 settings", "over 3 settings"]


def test_one_average_over_both_is_refused_with_the_reason() -> None:
    tables = build_tables([*runs("a"), *map(shifting, runs("b"))], "warm")
    mixed = aggregate(tables)
    assert mixed is not None
    assert mixed.rows == ()
    wanted = "more than one kind of stream (shifting targets, stationary arrival)"
    assert wanted in mixed.note
    assert wanted in " ".join(missing_figures(tables))
    assert [shown.title for shown in format_tables(tables)] == [table.title for table in tables]


def test_cost_to_match_is_refused_if_targets_shift() -> None:
    (plain,) = build_tables(runs("a"), "warm", "cold")
    (other,) = build_tables(map(shifting, runs("a")), "warm", "cold")
    assert all(row.cost_to_match is not None for row in plain.rows if row.method == "cold")
    assert all(row.cost_to_match is None for row in other.rows)
    notes = " ".join(format_tables([other])[0].notes)
    assert "no cost to match cold: what is to be learned changes between stages, so the acc" in notes


def test_a_run_of_arriving_classes_has_no_cost_to_match(tmp_path: Path) -> None:
    words = ("--task", "digits", "--method", "warm,cold", "--seeds", "1")
    answer = small_run(tmp_path, *words, "--set", "regime=class_incremental")
    assert answer.status == 0, answer.err
    assert "no cost to match cold: what is to be learned changes between stages" in answer.out
    assert "regime=class_incremental+accumulate" in answer.out
