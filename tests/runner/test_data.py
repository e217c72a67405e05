"""Runs belong to their data: nothing is resumed, shown, averaged or paired over two data sets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.commands import CommandResult, command, plugin
from support.data_plugins import TASKS, data_folder, words_for

from plastibench.store.run_store import Store

STUMBLE = """
def after_stage(self, learner):
    from pathlib import Path
    if learner.stage.index == 0 and not Path({mark!r}).exists():
        raise ValueError('no luck')
"""

CHANGE = """
def start(self, learner):
    import shutil
    shutil.copy({other!r}, {one!r})
"""


every_task = pytest.mark.parametrize(
    "task", [pytest.param(task, marks=[pytest.mark.heavy] * (task == "imagenet")) for task in TASKS]
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """Two data folders with the same names, sizes and labels, and other pixels."""
    return data_folder(tmp_path / "one", 1), data_folder(tmp_path / "other", 2)


def run(home: Path, data: Path, *words: object) -> CommandResult:
    return command("run", "--no-mlflow", "--home", home, "--data", data, *words)


def checksums(home: Path) -> list[str]:
    """Return the checksums in the records, as they are shown."""
    return [str(record.data)[:12] for record in Store(home).records()]


def contents(home: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}


@pytest.mark.heavy
@every_task
def test_finished_runs_on_other_data_are_neither_shown_nor_averaged(
    task: str, tmp_path: Path, two: tuple[Path, Path]
) -> None:
    home, words = tmp_path / "home", (*words_for(task, tmp_path), "--method", "warm")
    one, other = two
    assert run(home, one, *words, "--seeds", 1).status == 0
    (before,) = checksums(home)
    refused = run(home, other, *words, "--seeds", 2)
    assert refused.status == 2
    assert f"warm seed 0) was made on data {before}, but the data found here are" in refused.lines()[-1]
    assert "--data" in refused.lines()[-1]
    assert checksums(home) == [before]
    for data in (one, tmp_path / "nothing here"):
        shown = run(home, data, *words, "--seeds", 1)
        assert (shown.status, "finished already" in shown.err) == (0, True)
    assert run(home, other, *words, "--seeds", "1-1").status == 0
    after = next(data for data in checksums(home) if data != before)
    assert after in refused.lines()[-1]
    for format in ("text", "md", "csv", "json"):
        table = command("table", "--home", home, "--format", format).out
        assert f"data={before}" in table
        assert f"data={after}" in table
    tables = json.loads(command("table", "--home", home, "--format", "json").out)["tables"]
    assert [[row["n"] for row in table["rows"]] for table in tables] == [[1], [1]]


@every_task
@pytest.mark.heavy
def test_stopped_run_is_resumed_on_its_own_data_only(
    task: str, tmp_path: Path, two: tuple[Path, Path]
) -> None:
    mark = tmp_path / "mark"
    method = plugin(tmp_path, "mine", STUMBLE.format(mark=str(mark)))
    words = (*words_for(task, tmp_path), "--method", "mine", "--plugin", method, "--seeds", 1)
    home, (one, other) = tmp_path / "home", two
    assert run(home, one, *words, "--checkpoint-interval", 0).status == 1
    mark.touch()
    before = contents(home)
    plugins = [
        word for number, word in enumerate(words) if "--plugin" in words[max(0, number - 1) : number + 1]
    ]
    for refused in (
        run(home, other, *words),
        command("resume", "--no-mlflow", "--home", home, "--data", other, *plugins),
    ):
        assert refused.status == 2
        assert "mine seed 0) was stopped on data" in refused.lines()[-1]
        assert contents(home) == before
    resumed = run(home, one, *words)
    assert resumed.status == 0, resumed.err
    assert "resuming at stage 1" in resumed.err
    (record,) = Store(home).records()
    assert {row["data"] for row in record.stages} == {record.data}
    assert str(record.data)[:12] in refused.lines()[-1]


def test_data_that_change_while_runs_are_executed_are_noticed(tmp_path: Path, two: tuple[Path, Path]) -> None:
    one, other = (str(data / "mine.pt") for data in two)
    method = plugin(tmp_path, "mine", CHANGE.format(one=one, other=other))
    words = (*words_for("file", tmp_path), "--method", "mine", "--plugin", method, "--seeds", 2)
    done = run(tmp_path / "home", two[0], *words)
    assert len(set(checksums(tmp_path / "home"))) == 2
    assert done.status == 2
    assert "mine seed 1) was made on data" in done.lines()[-1]
    assert done.out == ""


def test_verify_names_the_data_as_the_cause(tmp_path: Path, two: tuple[Path, Path]) -> None:
    home, (one, other) = tmp_path / "home", two
    words = (*words_for("file", tmp_path), "--method", "warm", "--seeds", 1)
    assert run(home, one, *words).status == 0
    (record,) = Store(home).records()
    where = ("verify", "--home", home, "--plugin", tmp_path / "mytask.py", record.id)
    same = command(*where, "--data", one, "--threads", 1)
    assert (same.status, "all numbers of 2 stages are equal" in same.out) == (0, True)
    changed = command(*where, "--data", other)
    assert changed.status == 1
    assert f"not repeated, it was made on data {str(record.data)[:12]}, but the data" in changed.out


def test_missing_file_of_a_task_is_named_with_the_data_folder(tmp_path: Path) -> None:
    refused = run(tmp_path / "home", tmp_path / "empty", *words_for("file", tmp_path), "--method", "warm")
    assert refused.status == 2
    folder = tmp_path / "empty"
    assert refused.lines()[-1] == (
        f"plastibench: data of task mytask cannot be read: No such file or directory: {folder}/mine.pt; "
        f"the data folder is {folder}: choose another with --data or PLASTIBENCH_DATA"
    )


def test_plugin_may_raise_data_error(tmp_path: Path) -> None:
    words = words_for("file", tmp_path)
    path = tmp_path / "mytask.py"
    source = path.read_text().replace("DataContext, ", "DataContext, DataError, ")
    path.write_text(source.replace("x = torch", 'raise DataError("mine.pt is gone")\n        x = torch'))
    refused = run(tmp_path / "home", tmp_path / "empty", *words, "--method", "warm")
    assert refused.status == 2
    assert refused.lines()[-1].startswith("plastibench: mine.pt is gone; the data folder is ")


@pytest.mark.heavy
def test_checksum_does_not_depend_on_seed_or_method(tmp_path: Path, two: tuple[Path, Path]) -> None:
    for task in ("file", "own stream"):
        home, words = tmp_path / task, words_for(task, tmp_path)
        assert run(home, two[0], *words, "--method", "warm,cold", "--seeds", 2).status == 0
        assert len(set(checksums(home))) == 1


@pytest.mark.heavy
def test_tuning_and_its_settings_belong_to_their_data(tmp_path: Path, two: tuple[Path, Path]) -> None:
    home, (one, other) = tmp_path / "home", two
    words = (*words_for("own stream", tmp_path), "--method", "warm", "--seeds", "5,", "--home", home)
    tune = ("tune", "--no-mlflow", *words, "--tune", "learning_rate", "--trials", 1, "--seeds-per-trial", 1)
    assert command(*tune, "--name", "first", "--data", one).status == 0
    more = command(*tune, "--name", "first", "--data", other)
    assert more.status == 2
    assert "made with another checksum of the data" in more.lines()[-1]
    mixed = command(*tune, "--name", "second", "--data", other)
    assert "was made on data" in mixed.err
    tuned = ("run", "--no-mlflow", "--home", home, "--tuned", "first", "--plugin", tmp_path / "mytask.py")
    refused = command(*tuned, "--data", other)
    assert refused.status == 2
    assert "study first/warm-" in refused.lines()[-1]
    assert command(*tuned, "--data", one).status == 0
    assert "study first/warm-" in command("table", "--home", home).out
    plain = command("run", "--no-mlflow", *words, "--home", tmp_path / "new", "--data", other)
    (tmp_path / "new" / "tuned").mkdir()
    (home / "tuned" / "chosen.json").rename(tmp_path / "new" / "tuned" / "chosen.json")
    assert "study first/warm-" not in command("table", "--home", tmp_path / "new").out, plain.err
