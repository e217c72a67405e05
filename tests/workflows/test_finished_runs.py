"""Which finished runs a selection has, and what is said if it leaves some out."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from support.finished_runs import finish_all

import plastibench
from plastibench.runner.workspace import Workspace
from plastibench.workflows.request import Selection


@pytest.mark.parametrize(("finished", "named", "told"), [(5, None, True), (3, None, False), (5, 4, False)])
def test_more_seeds_than_a_table_shows_are_told_of(
    finished: int, named: int | None, told: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    chosen = Selection(
        workspace=Workspace(home=tmp_path),
        tasks=("digits",),
        methods=("warm", "cold"),
        seeds=tuple(range(finished)),
    )
    finish_all(tmp_path, chosen.specs)
    with caplog.at_level(logging.INFO):
        (table,) = plastibench.table(task="digits", methods=["warm", "cold"], home=tmp_path, seeds=named)
    assert {len(row.seeds) for row in table.rows} == {named or 3}
    assert ("--seeds 5 takes them all" in caplog.text) == told
