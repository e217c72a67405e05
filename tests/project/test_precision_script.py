"""The study of precision: what is shown to be equivalent, and which conclusions change."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from support.reports import a_home, a_run

from plastibench.store.record import Record

pytestmark = pytest.mark.heavy

SCRIPT = Path(__file__).parents[2] / "benchmarks/precision.py"
SEEDS = 8


def shifted(record: Record, points: float) -> Record:
    """Return the run in bf16, its accuracy moved by `points` and by a little of each seed's own."""
    spec = replace(record.spec, recipe={**record.spec.recipe, "precision": "bf16"})
    more = (points + 0.02 * (record.spec.seed % 3)) / 100
    stages = [{**row, "test_accuracy": row["test_accuracy"] + more} for row in record.stages]
    return replace(record, spec=spec, stages=stages)


def table(folder: Path) -> list[str]:
    words = [sys.executable, str(SCRIPT), "--home", str(folder), "--seeds", "0"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_method_that_differs_between_precisions_is_found(tmp_path: Path) -> None:
    usual = [a_run(method, seed) for method in ("warm", "cold", "mine") for seed in range(SEEDS)]
    moved = {"warm": 0.0, "cold": 0.0, "mine": -9.0}
    lines = table(a_home(tmp_path, [*usual, *(shifted(run, moved[run.spec.method.name]) for run in usual)]))
    cells = {line.split(" | ")[0].strip("| "): line.strip("| ").split(" | ") for line in lines[2:-2]}
    assert cells.keys() == moved.keys()
    assert all(cells[name][1] == str(SEEDS) for name in moved)
    assert [float(cells[name][5]) < 0.05 for name in ("warm", "cold", "mine")] == [True, True, False]
    assert cells["mine"][4].startswith("-8.98 [")
    assert cells["cold"][10] == "yes"
    assert cells["mine"][10] == "NO"
    assert all(cells[name][11] == "1.00" for name in moved)
    assert lines[-1] == "equivalent within 0.5 points: 2 of 3 methods; same conclusion: 2"


def test_a_study_needs_two_precisions(tmp_path: Path) -> None:
    home = a_home(tmp_path, [a_run("warm", 0)])
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--home", str(home), "--seeds", "0"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "holds 0 tables in bf16, and must hold one" in done.stderr
