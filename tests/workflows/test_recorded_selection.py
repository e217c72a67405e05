"""Runs of records files are chosen by what is named, and nothing else is asked of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from support.commands import command
from support.recorded import a_file
from support.reports import a_run, some_runs

from plastibench.experiments.spec import Part
from plastibench.plugins.registry import Registry
from plastibench.store.record import Record
from plastibench.store.records_file import Board, RecordsFile, write_records

REGISTRY = Registry()


def variant(preset: str, seed: int, **settings: object) -> Record:
    """Return a run of DASH with a preset's settings, changed where settings are given."""
    cls = REGISTRY.load("method", "dash")
    part = Part.of(REGISTRY.get("method", "dash"), cls(**{**cls.presets.get(preset, {}), **settings}))
    run = a_run(f"dash {preset} {settings}", seed)
    return replace(run, spec=replace(run.spec, method=part))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a records file of twelve seeds of one setting and three of another task."""
    variants = [variant(preset, seed) for preset in ("", "uniform") for seed in range(12)]
    variants += [variant("", seed, floor=0.5) for seed in range(12)]
    other = some_runs(3, ("warm",), task="other_task")
    return a_file(tmp_path_factory.mktemp("records") / "board.jsonl.xz", [*some_runs(12), *variants, *other])


def rows(path: Path, *words: str) -> dict[str, int]:
    """Return the number of seeds of each row of the tables."""
    done = command("table", "--records", path, "--format", "json", "--home", path.with_name("none"), *words)
    assert done.status == 0, done.err
    return {row["method"]: row["n"] for table in json.loads(done.out)["tables"] for row in table["rows"]}


def test_what_is_not_named_may_be_anything(path: Path) -> None:
    assert rows(path, "--method", "warm,cold", "--task", "some_task") == {"warm": 12, "cold": 12}
    assert rows(path, "--method", "mine") == {"mine": 12}
    assert rows(path, "--method", "mine,warm", "--seeds", "3-5") == {"mine": 3, "warm": 3}
    assert rows(path, "--task", "other_task") == {"warm": 3}


def test_a_name_takes_the_settings_without_a_preset_and_name_preset_that_variant(path: Path) -> None:
    found = rows(path, "--method", "dash")
    assert len(found) == 2
    assert not [label for label in found if "uniform" in label]
    assert list(rows(path, "--method", "dash:uniform,mine").values()) == [12, 12]
    assert len(rows(path, "--method", "dash,dash:uniform")) == 3


def test_rows_are_compared_with_what_the_file_compares_with(tmp_path: Path) -> None:
    board = RecordsFile(Board("cold-first", "cold", None), tuple(some_runs(3)))
    write_records(tmp_path / "board.jsonl.xz", board)
    done = command(
        "table", "--records", tmp_path / "board.jsonl.xz", "--method", "cold,mine", "--format", "md"
    )
    assert "| gain over cold |" in done.out
    assert "gain over warm" not in done.out


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--method", "wrm"), "no method in these records named 'wrm'; did you mean 'warm'?"),
        (
            ("--method", "warm,dash:permuted"),
            "no method in these records named 'dash:permuted'; did you mean",
        ),
        (("--task", "digits"), "no task in these records named 'digits' (there are: other_task, some_task)"),
        (("--model", "vgg16"), "no model in these records named 'vgg16'"),
        (("--recipe", "sota"), "recipe=sota cannot choose among recorded runs"),
    ],
)
def test_a_name_that_no_run_has_is_refused(path: Path, words: tuple[str, ...], reason: str) -> None:
    done = command("table", "--records", path, *words)
    assert done.status == 2
    assert reason in done.err
