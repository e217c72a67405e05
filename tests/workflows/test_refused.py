"""A method that cannot run on a task has a row of dashes and a reason, whatever makes the table."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from support.commands import command, small_run

from plastibench.experiments import suites
from plastibench.plugins.registry import Registry

GRID = ("--task", "digits", "--method", "warm,data_augmentation,cold")
REASON = "Digits has no augmentation"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    done = small_run(home, *GRID)
    assert done.status == 0
    assert f"left out: method data_augmentation cannot run on this task and model: {REASON}" in done.err
    assert f"data_augmentation cannot run here: {REASON}" in done.out
    return home


def tabulated(home: Path, format: str) -> str:
    words = [
        word for pair in ("stages=2", "max_epochs=1", "width=4", "train_size=130") for word in ("--set", pair)
    ]
    return command("table", *GRID, "--seeds", 1, *words, "--home", home, "--format", format).out


def test_every_format_shows_it(home: Path) -> None:
    (row,) = (line for line in tabulated(home, "md").splitlines() if line.startswith("| data_augmentation"))
    assert set(row.split("|")[2:-1]) == {" - "}
    assert f"data_augmentation cannot run here: {REASON}" in tabulated(home, "text")
    assert json.loads(tabulated(home, "json"))["tables"][0]["refused"] == {"data_augmentation": REASON}
    rows = list(csv.DictReader(io.StringIO(tabulated(home, "csv"))))
    assert [(row["method"], row["n"]) for row in rows] == [
        ("cold", "1"),
        ("warm", "1"),
        ("data_augmentation", ""),
    ]


def test_a_task_on_which_no_method_can_run_is_refused(tmp_path: Path) -> None:
    done = small_run(tmp_path, "--task", "digits", "--method", "data_augmentation")
    assert (done.status, done.err.strip()) == (
        2,
        f"plastibench: method data_augmentation cannot run on this task and model: {REASON}",
    )


def test_the_suite_of_the_field_has_every_method_and_says_what_cannot_run() -> None:
    registry = Registry()
    (grid,) = suites.load("field-quick").grids
    assert sorted({method.partition(":")[0] for method in grid.methods}) == registry.names("method")
    plan = grid.plan(registry)
    assert [refusal.spec.method.name for refusal in plan.refused] == ["data_augmentation"]
    assert len(plan.specs) == 3 * (len(grid.methods) - 1)
