"""Results as JSON: one object on stdout, whatever the command."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import click
import pytest
from support.commands import PLAIN, command, small_run
from support.reports import a_home, some_runs

from plastibench.cli.json_output import print_json
from plastibench.cli.main import cli
from plastibench.store.run_store import Store
from plastibench.version import __version__

WITHOUT_RESULT = {"completion", "ui"}
"""They print a script, and an address to open, until they are stopped."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return a_home(tmp_path_factory.mktemp("home"), some_runs(2))


def result(*words: object, status: int = 0) -> dict[str, Any]:
    answer = command(*words, "--json")
    assert answer.status == status, answer.err
    found = json.loads(answer.out)
    assert (found.pop("command"), found.pop("version")) == (str(words[0]), __version__)
    return dict(found)


def test_every_command_with_a_result_prints_json() -> None:
    lacking = [
        name for name, own in cli.commands.items() if all(param.name != "as_json" for param in own.params)
    ]
    assert set(lacking) == WITHOUT_RESULT


def test_listings_states_and_tables_are_objects(home: Path, tmp_path: Path) -> None:
    assert {"methods", "suites"} <= set(result("list"))
    assert "floor" in result("list", "dash")["settings"]
    assert {run["state"] for run in result("status", "--home", home)["runs"]} == {"done"}
    assert result("status", "--home", tmp_path) == {"runs": []}
    table = result("table", "--home", home)
    assert set(table) == {"tables", "aggregates", "damaged"}
    assert (
        command("table", "--home", home, "--json").out
        == command("table", "--home", home, "--format", "json").out
    )
    assert result("compare", home, home)["tables"][0]["rows"][0]["same_runs"] == 2
    assert result("doctor", "--home", home)["machine"]["plastibench"] == __version__


def test_what_was_written_is_named(home: Path, tmp_path: Path) -> None:
    assert result("new", "method", "my_idea", "--folder", tmp_path)["files"] == [str(tmp_path / "my_idea.py")]
    merged = result("merge", home, "--home", tmp_path / "target")
    assert (merged["counts"], merged["damaged"]) == ({"copied": 6}, [])
    assert len(Store(tmp_path / "target").ids()) == 6


def test_damaged_runs_are_in_the_result(tmp_path: Path) -> None:
    path = next(a_home(tmp_path, some_runs(1, ["warm"])).rglob("run.json"))
    path.write_text("{")
    assert [one["file"] for one in result("table", "--home", tmp_path, status=1)["damaged"]] == [str(path)]


@pytest.mark.heavy
def test_a_run_that_fails_is_in_the_result_and_its_error_on_stderr(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(PLAIN + "    def start(self, learner):\n        raise ValueError('no idea')\n")
    answer = small_run(tmp_path / "home", "--plugin", file, "--method", "mine,warm", "--json")
    found = json.loads(answer.out)
    assert answer.status == 1
    assert [one["reason"].partition(" (")[0] for one in found["failed"]] == ["ValueError: no idea"]
    assert [row["method"] for row in found["tables"][0]["rows"]] == ["warm"]
    assert "no idea" in answer.err


def test_a_request_that_cannot_be_met_prints_no_json(tmp_path: Path) -> None:
    answer = command("table", "--home", tmp_path, "--json")
    assert (answer.status, answer.out) == (2, "")


def test_a_number_that_json_does_not_have_is_null(capsys: pytest.CaptureFixture[str]) -> None:
    with click.Context(click.Command("some")):
        print_json(values=[math.nan, math.inf, 1.5], place=Path("a/b"), mapping={1: (True, None)})
    assert json.loads(capsys.readouterr().out) == {
        "command": "some",
        "version": __version__,
        "values": [None, None, 1.5],
        "place": "a/b",
        "mapping": {"1": [True, None]},
    }
