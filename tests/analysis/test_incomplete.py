"""Tables of a part of the runs that were asked for."""

from __future__ import annotations

import pytest
from support.reports import a_spec_of, some_runs

from plastibench.analysis.tables.incomplete import Asked, mark_incomplete
from plastibench.analysis.tables.table import build_tables
from plastibench.experiments.seeds import seed_ranges

SPECS = [record.spec for record in some_runs(4)]


def test_a_table_of_a_shard_says_so_in_its_caption_and_names_the_missing_runs_below() -> None:
    (table,) = build_tables(
        [r for r in some_runs(4) if r.spec.seed == 1 or r.spec.method.name == "mine"], None
    )
    failed = next(spec.id for spec in SPECS if (spec.method.name, spec.seed) == ("cold", 3))
    others = [a_spec_of("warm", 9, task="another_task")]
    marked = mark_incomplete(table, Asked([*SPECS, *others], "shard 2/4", {failed}))
    assert marked.title == f"{table.title} (shard 2/4: 6 of 12 runs, seeds 0, 2 and 3 incomplete)"
    assert marked.notes[0] == (
        "shard 2/4: without cold seeds 0 and 2, cold seed 3 (failed), warm seeds 0, 2 and 3; "
        "n counts the runs above, and `plastibench table` shows all that are finished"
    )
    assert marked.rows == table.rows


@pytest.mark.parametrize("part", ["", "shard 1/1"])
def test_a_table_of_all_runs_is_left_alone(part: str) -> None:
    (table,) = build_tables(some_runs(4), None)
    assert mark_incomplete(table, Asked(SPECS, part)) is table
    assert mark_incomplete(table, Asked()) is table


@pytest.mark.parametrize(
    ("seeds", "text"),
    [
        ([2], "seed 2"),
        ([1, 0], "seeds 0 and 1"),
        ([2, 3, 4], "seeds 2-4"),
        ([9, 4, 5, 6, 0], "seeds 0, 4-6 and 9"),
    ],
)
def test_seeds_in_a_row_are_a_range(seeds: list[int], text: str) -> None:
    assert seed_ranges(seeds) == text
