"""The index is a cache: tables are the same bytes with it and without, whatever happens to it or the runs."""

from __future__ import annotations

import multiprocessing
import os
import re
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from support.commands import command, program
from support.reports import a_home, a_run, some_runs

from plastibench.analysis.tables import render, tables
from plastibench.store import tuned_settings
from plastibench.store.index import database, index, reader
from plastibench.store.index.index import NAME, load_summaries
from plastibench.store.record import Record
from plastibench.store.run_store import Store


@pytest.fixture(autouse=True)
def _files_settle_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "SETTLED_SECONDS", -60.0)


def shown(records: list[Record], home: Path) -> str:
    found = tables(tuned_settings.attach(records, home), "warm", "cold")
    return "".join(render(found, form) for form in ("json", "csv", "md", "latex"))


def plainly(home: Path) -> str:
    """Return the tables without the index."""
    return shown(list(Store(home).records()), home)


def indexed(home: Path) -> str:
    return shown(load_summaries(Store(home)), home)


def entries(home: Path) -> dict[str, str]:
    """Return the ids and stamps that the index has."""
    with sqlite3.connect(home / NAME) as database:
        found = dict(database.execute("SELECT run, stamp FROM runs"))
    database.close()
    return found


def rewritten(home: Path, run: Record) -> Path:
    """Write a run once more, with other numbers and the same number of bytes."""
    path = Store(home).folder(run.id) / "run.json"
    before = path.stat()
    seconds = re.compile(r'(?<="store_seconds": )[0-9.e-]+')
    width = len(seconds.findall(path.read_text())[0])
    path.unlink()
    a_home(home, [replace(run, stages=[{**row, "steps": row["steps"] + 1} for row in run.stages])])
    text = path.read_text().replace('"attempts": 2', '"attempts": 1')
    path.write_text(seconds.sub(lambda found: f"{float(found[0]):.30f}"[:width], text))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    return path


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return runs of every kind: two settings, two machines, tuned, diverged, sealed, damaged."""
    runs = [*some_runs(3), *some_runs(2, task="other_task")]
    runs[0] = replace(runs[0], provenance={**runs[0].provenance, "device": "another chip", "threads": 2})
    runs.append(replace(a_run("warm", 7), status="diverged"))
    sealed = a_run("mine", 8)
    stages = [{**row, "test_accuracy": None} for row in sealed.stages]
    runs.append(replace(sealed, spec=replace(sealed.spec, sealed=True), stages=stages))
    a_home(tmp_path, [*runs, a_run("warm", 9)])
    tuned_settings.save(
        tmp_path,
        {tuned_settings.variant_id(runs[2].spec): tuned_settings.TunedSettings(study="s", trials=9, trial=4)},
    )
    (Store(tmp_path).folder(a_run("warm", 9).id) / "run.json").write_text("{")
    return tmp_path


def test_tables_are_the_same_bytes_with_and_without_the_index(home: Path) -> None:
    assert plainly(home) == indexed(home) == indexed(home)
    assert len(entries(home)) == 17
    store = Store(home)
    assert [record.id for record in load_summaries(store)] == [record.id for record in Store(home).records()]
    assert [path.parent.name for path in store.damaged] == [a_run("warm", 9).id]
    wanted = [a_run("mine", 1).spec, a_run("warm", 9).spec, a_run("warm", 0).spec, a_run("new", 0).spec]
    found = [record.id for record in load_summaries(store, [spec.id for spec in wanted])]
    assert found == [record.id for record in store.finished(wanted)]


def test_a_warm_index_reads_no_run_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = indexed(home)
    reads: list[str] = []
    load = Store.read_with_text

    def noted(store: Store, run: str) -> tuple[Record, str] | None:
        reads.append(run)
        return load(store, run)

    monkeypatch.setattr(Store, "read_with_text", noted)
    assert indexed(home) == expected
    assert reads == [a_run("warm", 9).id]


def test_several_processes_read_what_one_does(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = Store(home)
    expected = [record.id for record in load_summaries(alone)]
    (home / NAME).unlink()
    monkeypatch.setattr(reader, "MANY", 3)
    monkeypatch.setattr(reader, "BATCH", 4)
    together = Store(home)
    assert [record.id for record in load_summaries(together)] == expected
    assert together.damaged == alone.damaged != {}
    assert len(entries(home)) == 17
    assert indexed(home) == plainly(home)


def test_runs_are_read_where_no_other_process_can_be_had(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "MANY", 3)
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    multiprocessing.set_executable("/nowhere/python")
    try:
        assert indexed(home) == plainly(home)
    finally:
        monkeypatch.undo()
        multiprocessing.set_executable(sys.executable)


def test_a_table_imports_nothing_that_trains(tmp_path: Path) -> None:
    home = a_home(tmp_path, [*some_runs(2), *some_runs(2, task="other_task")])
    program = (
        "import sys; from plastibench.cli.main import main\n"
        f"sys.argv = ['plastibench', 'table', '--home', {str(home)!r}, '--format', 'md']\n"
        "try: main()\n"
        "except SystemExit: print('loaded:', *sorted({name.split('.')[0] for name in sys.modules}))"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    table, _, loaded = said.rpartition("loaded:")
    assert "over 2 tables" in table
    assert not {"torch", "pandas", "mlflow", "optuna", "matplotlib", "torchvision"} & set(loaded.split())


def test_added_changed_and_removed_runs_are_seen(home: Path) -> None:
    indexed(home)
    size = (Store(home).folder(a_run("warm", 1).id) / "run.json").stat().st_size
    path = rewritten(home, a_run("warm", 1))
    assert path.stat().st_size == size
    a_home(home, [a_run("new", 0)])
    (Store(home).folder(a_run("cold", 1).id) / "run.json").unlink()
    (Store(home).folder(a_run("mine", 1).id) / "run.json").write_text("half")
    assert indexed(home) == plainly(home)
    assert a_run("cold", 1).id not in entries(home)
    (Store(home).folder(a_run("warm", 9).id) / "run.json").unlink()
    a_home(home, [a_run("warm", 9)])
    assert indexed(home) == plainly(home)


def test_a_file_that_could_still_change_unseen_is_not_entered(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "SETTLED_SECONDS", 2.0)
    assert indexed(home) == plainly(home)
    assert entries(home) == {}


def _forged(path: Path, change: str) -> None:
    with sqlite3.connect(path) as database:
        database.execute(change)
    database.close()


def _flipped(path: Path, every: int) -> None:
    content = bytearray(path.read_bytes())
    for place in range(every // 2, len(content), every):
        content[place] ^= 0x40
    path.write_bytes(content)


def _into_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "noise": lambda path: path.write_bytes(os.urandom(9000)),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-5000]),
    "a bit here and there": lambda path: _flipped(path, 997),
    "many bits": lambda path: _flipped(path, 61),
    "another format": lambda path: _forged(path, "PRAGMA user_version = 7"),
    "no table": lambda path: _forged(path, "DROP TABLE heads"),
    "a number changed": lambda path: _forged(path, "UPDATE runs SET packed = zeroblob(length(packed))"),
    "a seed changed": lambda path: _forged(path, "UPDATE runs SET seed = seed + 1"),
    "a status changed": lambda path: _forged(path, "UPDATE runs SET status = 'diverged'"),
    "a setting changed": lambda path: _forged(path, "UPDATE heads SET text = replace(text, 'warm', 'mraw')"),
    "text that is none": lambda path: _forged(path, "UPDATE heads SET text = CAST(x'ff' AS TEXT)"),
}


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_index_changes_no_table_and_is_made_anew(how: str, home: Path) -> None:
    expected = indexed(home)
    DAMAGES[how](home / NAME)
    assert indexed(home) == expected
    indexed(home)  # where a damaged one had to be removed first
    assert len(entries(home)) == 17
    assert indexed(home) == expected


def test_what_cannot_be_an_index_is_left_alone(home: Path) -> None:
    (home / NAME).mkdir()
    assert indexed(home) == plainly(home)
    assert (home / NAME).is_dir()


def test_a_process_that_writes_the_index_is_not_waited_for_without_end(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = indexed(home)
    monkeypatch.setattr(database, "PATIENCE_SECONDS", 0.05)
    other = sqlite3.connect(home / NAME, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    assert indexed(home) == expected
    other.execute("ROLLBACK")
    other.close()
    assert len(entries(home)) == 17


def test_processes_at_once_print_the_same_table(home: Path) -> None:
    words = program("table", "--home", home, "--format", "json")
    others = [subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(3)]
    printed = {other.communicate()[0] for other in others}
    assert [other.returncode for other in others] == [1, 1, 1]  # one run is damaged
    assert printed == {command("table", "--home", home, "--format", "json").out.encode()}
    assert len(entries(home)) == 17


@contextmanager
def nobody() -> Iterator[None]:
    """Give up the rights of root, who can write anywhere."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.skipif(sys.platform == "win32", reason="folders have other rights there")
@pytest.mark.parametrize("had_one", [True, False])
def test_a_home_that_can_only_be_read_has_tables(had_one: bool) -> None:
    with tempfile.TemporaryDirectory() as name:
        home = a_home(Path(name) / "home", some_runs(2))
        expected = plainly(home)
        if had_one:
            indexed(home)
            a_home(home, [a_run("new", 0)])
            expected = plainly(home)
        before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
        for path in (Path(name), home, *home.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        with nobody():
            with pytest.raises(PermissionError):
                (home / "x").write_text("")
            assert indexed(home) == expected
        assert {path: path.read_bytes() for path in home.rglob("*") if path.is_file()} == before
        for path in (Path(name), home, *home.rglob("*")):
            path.chmod(0o755)


def test_stages_are_read_when_they_are_asked_for(home: Path) -> None:
    indexed(home)
    store = Store(home)
    one, other = (next(r for r in load_summaries(store) if r.id == a_run("warm", seed).id) for seed in (1, 2))
    assert one.stages == a_run("warm", 1).stages
    (store.folder(other.id) / "run.json").unlink()
    with pytest.raises(ValueError, match="removed or damaged"):
        _ = other.stages


def test_where_there_are_no_runs_no_index_is_made(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    assert load_summaries(Store(tmp_path)) == load_summaries(Store(tmp_path / "nowhere")) == []
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
