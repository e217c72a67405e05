"""The index is a cache: tables have the same bytes with and without it, whatever happens to it."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import pytest
from support.commands import child, command, program
from support.reports import a_home, a_run, some_runs

from plastibench.analysis.tables.export import render_tables
from plastibench.analysis.tables.table import build_tables
from plastibench.store import tuned_settings
from plastibench.store.index.index_file import FORMAT, INDEX_FILE, read_index
from plastibench.store.index.load import load_summaries, reading_progress
from plastibench.store.record import Record
from plastibench.store.run_store import Store

load_at_once = partial(load_summaries, settle_seconds=-60.0)
"""Load summaries, with an index of files that were written just now."""


def rendered(records: list[Record], home: Path) -> str:
    built = build_tables(tuned_settings.attach(records, tuned_settings.load(home)), "warm", "cold")
    return "".join(render_tables(built, format) for format in ("json", "csv", "md", "latex"))


def from_files(home: Path) -> str:
    """Return the tables without the index."""
    return rendered(list(Store(home).records()), home)


def from_index(home: Path) -> str:
    return rendered(load_at_once(Store(home)), home)


def indexed_runs(home: Path) -> set[str]:
    return set(read_index(home / INDEX_FILE))


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
    runs.append(replace(sealed, spec=replace(sealed.spec, held_out_test=True), stages=stages))
    a_home(tmp_path, [*runs, a_run("warm", 9)])
    tuned_settings.save(
        tmp_path,
        {runs[2].spec.variant_id: tuned_settings.TunedSettings(study="s", trials=9, trial=4)},
    )
    (Store(tmp_path).folder(a_run("warm", 9).id) / "run.json").write_text("{")
    return tmp_path


def test_tables_are_the_same_bytes_with_and_without_the_index(home: Path) -> None:
    assert from_files(home) == from_index(home) == from_index(home)
    assert len(indexed_runs(home)) == 17
    store = Store(home)
    assert [record.id for record in load_at_once(store)] == [record.id for record in Store(home).records()]
    assert [path.parent.name for path in store.damaged] == [a_run("warm", 9).id]
    wanted = [a_run("mine", 1).spec, a_run("warm", 9).spec, a_run("warm", 0).spec, a_run("new", 0).spec]
    found = [record.id for record in load_at_once(store, [spec.id for spec in wanted])]
    assert found == [record.id for record in store.finished(wanted)]


LIST_READS = """
import sys
from pathlib import Path
from plastibench.store.index.load import load_summaries
from plastibench.store.run_store import Store

def note(event, arguments):
    if event == "open" and str(arguments[0]).endswith("run.json"):
        print(Path(arguments[0]).parent.name)

sys.addaudithook(note)
load_summaries(Store(Path(sys.argv[1])))
"""


def test_a_warm_index_reads_no_run_file_but_damaged_ones(home: Path) -> None:
    from_index(home)
    assert child("-c", LIST_READS, str(home)).stdout.split() == [a_run("warm", 9).id]


@pytest.mark.heavy
def test_several_processes_read_what_one_does(home: Path) -> None:
    alone, together = Store(home), Store(home)
    expected = [record.id for record in load_summaries(alone)]
    found = load_at_once(together, parallel_threshold=3, batch_size=4)
    assert [record.id for record in found] == expected
    assert together.damaged == alone.damaged != {}
    assert len(indexed_runs(home)) == 17
    assert from_index(home) == from_files(home)


def test_runs_are_read_if_no_other_process_can_be_started(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resource_tracker.ensure_running()  # one that could not be started either would complain in later tests
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    multiprocessing.set_executable("/nowhere/python")
    try:
        found = load_at_once(Store(home), parallel_threshold=3)
    finally:
        monkeypatch.undo()
        multiprocessing.set_executable(sys.executable)
    assert rendered(found, home) == from_files(home)


def test_reading_many_runs_shows_its_progress(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "plastibench")
    with reading_progress(3, threshold=4), reading_progress(4, threshold=4):
        pass
    assert caplog.messages == ["reading 4 runs ...", "reading 4 runs: done"]


@pytest.mark.heavy
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
    assert "over 2 settings" in table
    assert not {"torch", "pandas", "mlflow", "optuna", "matplotlib", "torchvision"} & set(loaded.split())


def test_added_changed_and_removed_runs_are_seen(home: Path) -> None:
    from_index(home)
    size = (Store(home).folder(a_run("warm", 1).id) / "run.json").stat().st_size
    path = rewritten(home, a_run("warm", 1))
    assert path.stat().st_size == size
    a_home(home, [a_run("new", 0)])
    (Store(home).folder(a_run("cold", 1).id) / "run.json").unlink()
    (Store(home).folder(a_run("mine", 1).id) / "run.json").write_text("half")
    assert from_index(home) == from_files(home)
    assert a_run("cold", 1).id not in indexed_runs(home)
    (Store(home).folder(a_run("warm", 9).id) / "run.json").unlink()
    a_home(home, [a_run("warm", 9)])
    assert from_index(home) == from_files(home)


def test_a_file_that_could_still_change_unseen_is_not_indexed(home: Path) -> None:
    assert rendered(load_summaries(Store(home)), home) == from_files(home)
    assert indexed_runs(home) == set()


def _edited(path: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    """Change the content and make its checksum anew."""
    document = json.loads(path.read_bytes().partition(b"\n")[2])
    edit(document)
    content = json.dumps(document).encode()
    path.write_bytes(b"%08x\n%s" % (zlib.crc32(content), content))


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
    "a status changed": lambda path: path.write_bytes(path.read_bytes().replace(b"done", b"gone", 1)),
    "another format": lambda path: _edited(path, lambda document: document.update(format=[0, *FORMAT[1:]])),
    "no groups": lambda path: _edited(path, lambda document: document.pop("groups")),
    "too few groups": lambda path: _edited(path, lambda document: document["groups"].pop()),
    "a short entry": lambda path: _edited(path, lambda document: document["entries"][3].pop()),
    "a list": lambda path: path.write_bytes(b"%08x\n[]" % zlib.crc32(b"[]")),
}


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_index_changes_no_table_and_is_made_anew(how: str, home: Path) -> None:
    expected = from_index(home)
    DAMAGES[how](home / INDEX_FILE)
    assert from_index(home) == expected
    assert len(indexed_runs(home)) == 17
    assert from_index(home) == expected


def test_what_cannot_be_an_index_is_left_alone(home: Path) -> None:
    (home / INDEX_FILE).mkdir()
    assert from_index(home) == from_files(home)
    assert (home / INDEX_FILE).is_dir()


WRITE = """
import sys
from pathlib import Path
from plastibench.store.index.load import load_summaries
from plastibench.store.run_store import Store
print(len(load_summaries(Store(Path(sys.argv[1])), settle_seconds=-60)))
"""


@pytest.mark.heavy
def test_processes_may_write_the_index_and_print_tables_at_the_same_time(home: Path) -> None:
    table = program("table", "--home", home, "--format", "json")
    commands = [[sys.executable, "-c", WRITE, str(home)]] * 3 + [table] * 2
    others = [subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for words in commands]
    printed = [other.communicate()[0] for other in others]
    assert [other.returncode for other in others] == [0, 0, 0, 1, 1]  # 1: one run is damaged
    assert printed[:3] == [b"17\n"] * 3
    assert set(printed[3:]) == {command("table", "--home", home, "--format", "json").out.encode()}
    assert len(indexed_runs(home)) == 17
    assert not list(home.glob(f".{INDEX_FILE}*"))


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
        expected = from_files(home)
        if had_one:
            from_index(home)
            a_home(home, [a_run("new", 0)])
            expected = from_files(home)
        before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
        for path in (Path(name), home, *home.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        with nobody():
            with pytest.raises(PermissionError):
                (home / "x").write_text("")
            assert from_index(home) == expected
        assert {path: path.read_bytes() for path in home.rglob("*") if path.is_file()} == before
        for path in (Path(name), home, *home.rglob("*")):
            path.chmod(0o755)


def test_stages_are_read_when_they_are_asked_for(home: Path) -> None:
    from_index(home)
    store = Store(home)
    one, other = (next(r for r in load_at_once(store) if r.id == a_run("warm", seed).id) for seed in (1, 2))
    assert one.stages == a_run("warm", 1).stages
    (store.folder(other.id) / "run.json").unlink()
    with pytest.raises(ValueError, match="removed or damaged"):
        len(other.stages)


def test_without_runs_no_index_is_made(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    assert load_summaries(Store(tmp_path)) == load_summaries(Store(tmp_path / "nowhere")) == []
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
