"""The way of a submission: a good one reaches the board, any other is refused with the reason."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from support.commands import CommandResult, command, plugin, script, small_run
from support.recorded import a_file, forge, lines_of, put_together
from support.reports import a_run, some_runs

from plastibench.store.record import Record
from plastibench.store.records_file import read_records
from plastibench.store.run_store import Store
from plastibench.workflows.submission_check import check_submission

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "check_submission.py"
SEEDS = 5


@dataclass
class Desk:
    """A board and a submission in a folder of their own."""

    folder: Path

    @property
    def board(self) -> Path:
        return self.folder / "board.jsonl.xz"

    @property
    def submitted(self) -> Path:
        return self.folder / "mine.jsonl.xz"

    def check(self, *words: object) -> CommandResult:
        return script(SCRIPT, self.submitted, "--board", self.board, "--sample", 1, *words)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    home = tmp_path_factory.mktemp("desk") / "home"
    assert small_run(home, "--method", "warm,cold,dash", "--seeds", SEEDS).status == 0
    return list(Store(home).records())


@pytest.fixture
def desk(runs: list[Record], tmp_path: Path) -> Desk:
    desk = Desk(tmp_path)
    a_file(desk.board, [run for run in runs if run.spec.method.name != "dash"])
    a_file(desk.submitted, [run for run in runs if run.spec.method.name == "dash"])
    return desk


@pytest.mark.heavy
def test_a_good_submission_is_run_again_and_reaches_the_board(desk: Desk, tmp_path: Path) -> None:
    before = desk.board.read_bytes()
    checked = desk.check("--comment", tmp_path / "comment.md")
    assert checked.status == 0, checked.out
    assert "**Checks passed**: 5 new runs" in checked.out
    assert "- run again, equal: " in checked.out
    assert "| dash | - | " in checked.out
    assert "(n = 5) |" in checked.out
    assert (tmp_path / "comment.md").read_text() == checked.out
    assert desk.board.read_bytes() == before
    assert "5 runs added to" in desk.check("--add").out
    assert len(read_records(desk.board).runs) == 3 * SEEDS
    table = command("table", "--records", desk.board, "--format", "md").out
    assert "| dash | 5 |" in table
    assert "| 1 of 5 re-run to the bit |" in table
    again = desk.check()
    assert (again.status, "every run is on the board already: nothing new" in again.out) == (1, True)


@pytest.mark.heavy
def test_a_forged_row_is_refused_with_the_first_difference(desk: Desk) -> None:
    for place in range(-SEEDS, 0):
        forge(desk.submitted, lambda run: run["stages"][0].update(test_accuracy=0.5), place=place)
    checked = desk.check("--add")
    assert checked.status == 1
    assert "**Not accepted**: a row is not what was submitted" in checked.out
    assert "the first difference: stage 1, test_accuracy: 0.5 in the record, 0." in checked.out
    assert len(read_records(desk.board).runs) == 2 * SEEDS


@pytest.mark.heavy
@pytest.mark.parametrize("kind", ["forged", "truncated", "duplicate", "conflicting"])
def test_what_a_look_at_the_file_shows_is_refused_without_running_anything(desk: Desk, kind: str) -> None:
    if kind == "forged":
        forge(desk.submitted, lambda run: run["stages"][0].update(test_accuracy=0.5), digest=False)
        expected = "**Not accepted**: records file"
        reason = "is refused: line 6: it was changed after it was written"
    elif kind == "truncated":
        desk.submitted.write_bytes(desk.submitted.read_bytes()[:-200])
        expected, reason = "**Not accepted**: records file", "is refused: it ends too early"
    elif kind == "duplicate":
        shutil.copy(desk.board, desk.submitted)
        expected, reason = "**Not accepted**: 0 new runs", "every run is on the board already"
    else:
        shutil.copy(desk.board, desk.submitted)
        forge(desk.submitted, lambda run: run["stages"][0].update(test_accuracy=0.5))
        expected = "**Not accepted**: 0 new runs"
        reason = "is on the board with other numbers: stage 1, test_accuracy: 0."
    checked = desk.check()
    assert checked.status == 1
    assert expected in checked.out
    assert reason in checked.out
    assert "run again" not in checked.out


@pytest.mark.heavy
def test_new_runs_that_need_unread_source_are_accepted_only_if_that_is_said(
    runs: list[Record], desk: Desk, tmp_path: Path
) -> None:
    file = plugin(tmp_path, "theirs", "def before_stage(self, learner): learner.head.weight.mul_(0.5)")
    home = tmp_path / "home"
    assert small_run(home, "--plugin", file, "--method", "theirs", "--seeds", SEEDS).status == 0
    theirs = list(Store(home).records())
    (kept,) = Store(home).kept_plugins(theirs[0].id)
    plugins = {("method", "theirs", theirs[0].spec.method.code): kept}
    # The board's own runs in the file are not what is drawn: they would say nothing of the new ones.
    a_file(desk.submitted, [*read_records(desk.board).runs, *theirs], plugins=plugins)
    refused = desk.check()
    assert refused.status == 1
    assert "problem: 5 of 5 new runs cannot be run again: run " in refused.out
    assert "then add --run-plugins to execute it; --self-reported accepts them as they are" in refused.out
    assert "run again, " not in refused.out
    said = desk.check("--self-reported")
    assert (said.status, "- self-reported: 5 of 5 new runs cannot be run again" in said.out) == (0, True)
    done = desk.check("--run-plugins")
    assert (done.status, done.out.count("digits small_resnet theirs seed")) == (0, 1)
    assert "- run again, equal: " in done.out


def test_rules_are_checked_in_numbers(tmp_path: Path) -> None:
    board = a_file(tmp_path / "board", some_runs(5, methods=("warm", "cold")))
    few = a_file(tmp_path / "few", [a_run("mine", seed) for seed in range(3)])
    assert check_submission(few, board).problems == [
        "a row has at least 5 seeds, which these have not: mine (3)",
        f"no weights in the provenance of 3 runs, such as {read_records(few).runs[0].id}",
    ]
    other = a_file(tmp_path / "other", [a_run("mine", seed) for seed in range(1, 7)])
    check = check_submission(other, board)
    assert [text for text in check.problems if "weights" not in text] == [
        "mine: no run of warm with seed 5, 6 to pair with",
        "mine: no run of cold with seed 5, 6 to pair with",
    ]
    assert check.notes == ["mine: fewer than 10 seeds, so no corrected test may find a difference"]
    alone = check_submission(a_file(tmp_path / "alone", [a_run("mine", seed) for seed in range(5)]))
    assert any("no gains over warm, the baseline" in text for text in alone.problems)


def test_rows_are_added_beside_those_of_others_and_hostile_names_are_text(tmp_path: Path) -> None:
    board = a_file(tmp_path / "board", some_runs(5, methods=("warm", "cold")))
    name = "<img src=x> | @everyone [here](http://evil)"
    runs = [a_run(name, seed).with_provenance(weights="w") for seed in range(5)]
    submitted = a_file(
        tmp_path / "new", [replace(run, status="diverged") if run.spec.seed == 4 else run for run in runs]
    )
    check = check_submission(submitted, board)
    assert check.problems == []
    text = check.markdown()
    assert "<img" not in text
    assert "@everyone" not in text
    assert "](http" not in text
    assert "4 + 1 diverged, which no average includes" in text
    assert text.count("\n| some_task") == 1


def test_a_line_that_is_moved_to_another_file_is_still_a_run(tmp_path: Path) -> None:
    path = a_file(tmp_path / "a", some_runs(1))
    lines = lines_of(path)
    put_together(path, [{**lines[0], "runs": 1}, lines[2]])
    assert [run.id for run in read_records(path).runs] == [lines[2]["id"]]
