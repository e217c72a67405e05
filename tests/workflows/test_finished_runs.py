"""Which finished runs a selection has, and what is said if it leaves some out."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import pytest
from support.commands import command
from support.finished_runs import finish_all

import plastibench
from plastibench.errors import RequestError
from plastibench.experiments.spec import Spec
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


def test_a_task_without_methods_is_everything_that_has_finished_on_it(tmp_path: Path) -> None:
    def some(*methods: str, **more: Any) -> list[Spec]:
        chosen = Selection(workspace=Workspace(home=tmp_path), methods=methods, **more)
        return chosen.specs

    finish_all(tmp_path, some("warm", "muon", tasks=("digits",), seeds=(0, 1, 2, 3, 4)))
    finish_all(tmp_path, some("warm", "ema", tasks=("digits",), settings={"stages": "7"}))
    finish_all(tmp_path, some("warm", tasks=("cifar10",)))

    def rows(**arguments: Any) -> list[dict[str, int]]:
        tables = plastibench.table(home=tmp_path, **arguments)
        found = [{row.method: len(row.seeds) for row in table.rows} for table in tables]
        return sorted(found, key=lambda row: sorted(row.items()), reverse=True)

    assert rows(task="digits") == [{"muon": 5, "warm": 5}, {"ema": 3, "warm": 3}]
    assert rows(task="digits", seeds=2) == [{"muon": 2, "warm": 2}, {"ema": 2, "warm": 2}]
    assert rows(task="digits", settings={"stages": "7"}) == [{"ema": 3, "warm": 3}]
    assert rows(task="digits", methods="muon") == [{"muon": 3}], "a method that is named is a grid"
    assert {"warm": 3} in rows(task=["digits", "cifar10"])
    with pytest.raises(RequestError, match="did you mean 'cifar10'"):
        rows(task=["digits", "cifr10"])
    with pytest.raises(RequestError, match="did you mean 'stages'"):
        rows(task="digits", settings={"stagess": "7"})
    listed = command("status", "--home", tmp_path, "--task", "digits", "--json").out
    assert {("muon", 4), ("ema", 2), ("dash", 0)} <= {
        (name.split()[2], int(name.split()[-1])) for name in re.findall(r'"name": "([^"]+)"', listed)
    }


def test_methods_without_a_task_that_find_nothing_say_which_tasks_there_are(tmp_path: Path) -> None:
    chosen = Selection(workspace=Workspace(home=tmp_path), tasks=("cifar10",), methods=("warm", "cold"))
    finish_all(tmp_path, chosen.specs)
    found = command("table", "--home", tmp_path, "--method", "warm,cold")
    assert found.status == 2
    assert "without --task suite quickstart is meant, and there are runs of cifar10" in found.err
    assert command("table", "--home", tmp_path, "--method", "warm,cold", "--task", "cifar10").status == 0
    other = command("table", "--home", tmp_path, "--task", "cifar10", "--method", "warm", "--set", "stages=3")
    assert "there are runs of cifar10 with other settings, which --set names" in other.err
    assert (
        "there are runs"
        not in command("table", "--home", tmp_path, "--task", "digits", "--method", "warm").err
    )
