"""The way of a submission: a good one reaches the board, any other is refused with the reason."""

from __future__ import annotations

import copy
import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.commands import CommandResult, command, plugin, script, small_run
from support.recorded import a_file, forge, lines_of, put_together, set_accuracy
from support.reports import a_run, some_runs

from plastibench.errors import RequestError
from plastibench.experiments.spec import Spec
from plastibench.plugins import code_hash
from plastibench.plugins.plugin import Plugin
from plastibench.plugins.source import Source
from plastibench.store.record import Record
from plastibench.store.records_file import read_records
from plastibench.store.run_store import Store
from plastibench.store.tuned_settings import TunedSettings
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
    return committed(Store(home).records())


def committed(runs: Iterable[Record]) -> list[Record]:
    """Return runs as they are made in a checkout without changes."""
    return [run.with_provenance(commit="0123456789ab") for run in runs]


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
    assert "| `dash` | `-` | " in checked.out
    assert "(n = 5)` |" in checked.out
    assert re.search(
        r"- `dash: [+-].* points over warm, p = [\d.]+ after correction: no difference", checked.out
    )
    assert re.search(r"- drawn: 1 run of 5, with `--seed \d+`", checked.out)
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
        forge(desk.submitted, lambda run: set_accuracy(run["stages"][0], 0.5), place=place)
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
        expected = "**Not accepted**: `records file"
        reason = "is refused: line 6: it was changed after it was written"
    elif kind == "truncated":
        desk.submitted.write_bytes(desk.submitted.read_bytes()[:-200])
        expected, reason = "**Not accepted**: `records file", "is refused: it ends too early"
    elif kind == "duplicate":
        shutil.copy(desk.board, desk.submitted)
        expected, reason = "**Not accepted**: 0 new runs", "every run is on the board already"
    else:
        shutil.copy(desk.board, desk.submitted)
        forge(desk.submitted, lambda run: set_accuracy(run["stages"][0], 0.5))
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
    theirs = committed(Store(home).records())
    (kept,) = Store(home).kept_plugins(theirs[0].id)
    plugins = {("method", "theirs", theirs[0].spec.method.code): kept}
    # The board's own runs in the file are not what is drawn: they would say nothing of the new ones.
    a_file(desk.submitted, [*read_records(desk.board).runs, *theirs], plugins=plugins)
    refused = desk.check()
    assert refused.status == 1
    assert "problem: `5 of 5 new runs cannot be run again: run " in refused.out
    assert "then add --run-plugins to execute it; --self-reported accepts them as they are" in refused.out
    assert "run again, " not in refused.out
    said = desk.check("--self-reported")
    assert (said.status, "- `self-reported: 5 of 5 new runs cannot be run again" in said.out) == (0, True)
    done = desk.check("--run-plugins")
    assert (done.status, done.out.count("digits small_resnet theirs seed")) == (0, 1)
    assert "- run again, equal: " in done.out


@pytest.mark.heavy
def test_rows_whose_data_are_missing_are_not_waived_with_those_of_other_hardware(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for number in range(200):
        image = tmp_path / "images" / "ab"[number % 2] / f"{number}.png"
        image.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number, 200 * (number % 2), 7)).save(image)
    words = ("--task", "image_folder", "--set", "folder=images", "--set", "resolution=8")
    home, desk = tmp_path / "home", Desk(tmp_path)
    assert small_run(home, *words, "--method", "warm,cold", "--seeds", SEEDS).status == 0
    a_file(desk.submitted, committed(Store(home).records()))
    assert desk.check("--self-reported").status == 0
    shutil.rmtree("images")
    refused = desk.check("--self-reported")
    assert refused.status == 1
    assert "problem: `10 of 10 new runs cannot be run again: there is no folder" in refused.out
    assert "images is looked for in the current folder" in refused.out
    assert "; --without-data accepts them as they are" in refused.out
    said = desk.check("--without-data", "--add")
    assert (said.status, "- `self-reported: 10 of 10 new runs cannot" in said.out) == (0, True)


@pytest.mark.heavy
def test_a_check_that_fails_says_so_in_the_comment(desk: Desk, tmp_path: Path) -> None:
    marks, before = tmp_path / "verified.json", desk.board.read_bytes()
    marks.mkdir()
    checked = desk.check("--add", "--comment", tmp_path / "comment.md")
    assert (checked.status, desk.board.read_bytes() == before) == (1, True)
    assert checked.out == f"**Not accepted**: `{marks} cannot be read: Is a directory`\n"
    assert (tmp_path / "comment.md").read_text() == checked.out


NAMES = {"task": "digits", "methods": ("warm", "cold")}


def of_shipped(run: Record, **provenance: Any) -> Record:
    """Return a run of plug-ins with shipped names, whose code is another."""
    model = replace(run.spec.model, name="mlp_bn")
    return replace(run, spec=replace(run.spec, model=model)).with_provenance(weights="w", **provenance)


RECIPE = ("max_steps", "augment")


def dash(seeds: Iterable[int], **more: Any) -> list[Record]:
    recipe = {name: value for name, value in more.items() if name in RECIPE}
    provenance = {name: value for name, value in more.items() if name not in RECIPE}
    return [of_shipped(a_run("dash", seed, "digits", **recipe), **provenance) for seed in seeds]


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return a_file(tmp_path_factory.mktemp("board") / "board", map(of_shipped, some_runs(10, **NAMES)))


def longer(run: Record) -> Record:
    return replace(run, stages=[*run.stages, {**run.stages[0], "index": len(run.stages)}])


def tuned_by(study: str, record: Record, **changes: Any) -> dict[str, TunedSettings]:
    fields = {"trials": 20, "trial": 3, "data": record.data, "passes": 1e6, **changes}
    return {record.variant_id: TunedSettings(study, **fields)}


@pytest.mark.parametrize(
    ("runs", "more", "expected"),
    [
        (dash(range(5)), {}, None),
        (dash(range(3)), {}, r"a row has at least 5 seeds, which these have not: dash \(3\)"),
        (dash((0, 2, 5, 7, 9)), {}, "dash: no run with seed 1, 3, 4: a row has all seeds from 0 on"),
        (dash(range(11)), {}, "dash: no run of warm with seed 10 to pair with"),
        (
            [run.with_provenance(weights=None) for run in dash(range(5))],
            {},
            "no weights in the provenance of 5",
        ),
        (
            dash(range(5), commit="abc+changes"),
            {},
            r"seed 0\) was made with uncommitted changes \(abc\+changes",
        ),
        (
            dash(range(5), finished="2999-01-01"),
            {},
            r"seed 0\) was finished on 2999-01-01, which is still to come",
        ),
        (
            [a_run("mine", seed) for seed in range(5)],
            {},
            r"needs the source of method mine \(code c\), which is not",
        ),
        (
            dash(range(5)),
            {"tuned": tuned_by("s", dash([0])[0], data="another")},
            "study s chose settings on data another, not on those of its runs",
        ),
        (
            dash(range(5)),
            {"tuned": tuned_by("s", dash([0])[0], data=None)},
            "study s chose settings on no known data, not on those of its runs",
        ),
        (
            dash(range(5)),
            {"tuned": tuned_by("s", dash([0])[0], trial=20)},
            "study s chose trial 20 of 20: the last one is 19",
        ),
        (
            dash(range(5)),
            {"tuned": tuned_by("s", dash([0])[0], passes=None)},
            "study s does not say how many passes its trials took",
        ),
        (
            dash(range(5), augment=True),
            {"tuned": tuned_by("s", dash([0], augment=True)[0], instead_of={"augment": False})},
            "study s chose augment in place of false: only numbers are searched",
        ),
        (
            [*dash(range(4)), *dash([4], threads=3)],
            {},
            r"the runs are mixed: threads is None in run \w+ \(.* and 3 in run",
        ),
        (
            [*dash(range(4)), *dash([4], compiler="inductor")],
            {},
            "the runs are mixed: compiler is None in run .* and inductor in run",
        ),
        (
            dash(range(5), max_steps=9000),
            {"tuned": tuned_by("s", dash([0], max_steps=9000)[0], instead_of={"max_steps": 2000})},
            "study s chose max_steps, which all rows of a setting share",
        ),
        (
            [*dash(range(5)), of_shipped(a_run("warm", 0, "digits"))],
            {"tuned": tuned_by("s", of_shipped(a_run("warm", 0, "digits")))},
            "study s is said to have chosen the settings of warm, which are on the board",
        ),
    ],
)
def test_rules_are_checked_in_numbers(
    board: Path, tmp_path: Path, runs: list[Record], more: dict[str, Any], expected: str | None
) -> None:
    check = check_submission(a_file(tmp_path / "mine", runs, **more), board)
    if expected is None:
        assert check.problems == []
        assert check.notes[0] == "dash: fewer than 10 seeds, so no corrected test may find a difference"
    else:
        assert any(re.search(expected, problem) for problem in check.problems), check.problems


def test_a_run_of_another_length_than_the_board_is_refused(board: Path, tmp_path: Path) -> None:
    submitted = a_file(tmp_path / "mine", [longer(run) for run in dash(range(5))])
    with pytest.raises(RequestError, match=r"run \w+ \(digits mlp_bn dash seed 0\) has 4 stages, and run"):
        check_submission(submitted, board)


def test_a_file_cannot_choose_what_its_rows_are_compared_with(board: Path, tmp_path: Path) -> None:
    submitted = a_file(tmp_path / "mine", dash(range(5)))
    lines = lines_of(submitted)
    lines[0]["board"] |= {"baseline": "dash", "cost_reference": None}
    put_together(submitted, lines)
    assert any("over warm, p = " in note for note in check_submission(submitted, board).notes)
    alone = check_submission(submitted)
    assert "the file names no cost reference: pack the runs with `plastibench submit SUITE`" in alone.problems
    assert "a-board would be a new board, compared with dash" in alone.notes


def test_a_row_tuned_with_another_budget_is_refused(board: Path, tmp_path: Path) -> None:
    runs, fewer = dash(range(5)), [replace(run, spec=_stronger(run.spec)) for run in dash(range(5))]
    tuned = {**tuned_by("s", runs[0]), **tuned_by("t", fewer[0], trials=50)}
    (problem,) = check_submission(a_file(tmp_path / "mine", [*runs, *fewer], tuned=tuned), board).problems
    assert problem.startswith(
        "tunings of one setting have equal budgets, which these have not: dash (tuned, 20"
    )


def _stronger(spec: Spec) -> Spec:
    return replace(spec, method=replace(spec.method, settings={"strength": 2.0}))


def test_source_that_is_not_that_of_the_runs_is_refused_without_being_executed(
    board: Path, tmp_path: Path
) -> None:
    def submitted(name: str, code: str, text: str) -> list[str]:
        source = Source(name, {f"{name}.py": text.encode()}, Path())
        runs = [replace(run, spec=_of_method(run.spec, name, code)) for run in dash(range(5))]
        key = ("method", name, code)
        path = a_file(tmp_path / "mine", runs, plugins={key: Plugin("method", name, source=source)})
        return check_submission(path, board).problems

    assert submitted("mine", code_hash.digest("x = 1"), "x = 1") == []
    (other,) = submitted("mine", code_hash.digest("x = 1"), "raise SystemExit")
    assert re.match(r"the source of method mine is not that of its runs: its digest is \w{16}, theirs", other)
    (shipped,) = submitted("dash", code_hash.digest("x = 1"), "x = 1")
    assert shipped == "the file has source of method dash, which is the name of a shipped one: rename yours"
    (deep,) = submitted("mine", "c", "x = " + "-" * 5000 + "1")
    assert "its digest is unknown (" in deep


def _of_method(spec: Spec, name: str, code: str) -> Spec:
    return replace(spec, method=replace(spec.method, name=name, code=code))


@pytest.mark.heavy
def test_settings_that_no_shipped_plugin_writes_are_refused(runs: list[Record], tmp_path: Path) -> None:
    def forged(change: Callable[[dict[str, Any]], None]) -> str:
        made = []
        for run in (run for run in runs if run.spec.method.name == "dash"):
            plain = copy.deepcopy(run.spec.as_dict())
            change(plain)
            made.append(replace(run, spec=Spec.from_dict(plain)))
        problems = check_submission(a_file(tmp_path / "mine", made)).problems
        return next((problem for problem in problems if "cannot be made: " in problem), "")

    assert forged(lambda plain: None) == ""
    assert "learning_rate=1.0 is not allowed" in forged(
        lambda plain: plain["recipe"].update(learning_rate="1.0")
    )
    assert "no_such" in forged(lambda plain: plain["method"]["settings"].update(no_such=1))
    text = forged(lambda plain: plain["method"]["settings"].update({"floor": 0}))
    assert "the settings of dash are " in text or "floor" in text


def test_hostile_names_are_text_in_the_comment(board: Path, tmp_path: Path) -> None:
    name = "<img src=x> | `@everyone` [here](http://evil)"
    source = Source("mine", {"mine.py": b"x = 1"}, Path())
    code = code_hash.digest("x = 1")
    runs = [replace(run, spec=_of_method(run.spec, name, code)) for run in dash(range(5))]
    last = [{**runs[-1].stages[0]}, {**runs[-1].stages[1], "stop": "diverged"}]
    runs[-1] = replace(runs[-1], status="diverged", stages=last)
    plugins = {("method", name, code): Plugin("method", name, source=source)}
    check = check_submission(a_file(tmp_path / "new", runs, plugins=plugins), board)
    assert check.problems == []
    text = check.markdown()
    shown = "<img src=x> \N{BROKEN BAR} '@everyone' [here](http://evil)"
    assert text.count(shown) == text.count("@everyone") > 2
    assert all(part.count("`") == 0 for part in re.findall(r"`([^`]*)`", text))
    assert re.sub(r"`[^`]*`", "", text).count("@") == 0
    assert "4 + 1 diverged, which no average includes" in text
    assert text.count("\n| `digits") == 1


def test_a_line_that_is_moved_to_another_file_is_still_a_run(tmp_path: Path) -> None:
    path = a_file(tmp_path / "a", some_runs(1))
    lines = lines_of(path)
    put_together(path, [{**lines[0], "runs": 1}, lines[2]])
    assert [run.id for run in read_records(path).runs] == [lines[2]["id"]]
