"""Runs on disk: complete or absent, distinguished from damaged ones, and self-contained."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.commands import child
from support.stores import a_row, a_spec, finish

from plastibench.errors import RequestError
from plastibench.store.record import check_row
from plastibench.store.run_store import Store
from plastibench.system.files import free_bytes, write_atomic


def test_finished_run_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.prepare()
    written = finish(store, a_spec())
    read = store.read(a_spec().id)
    assert read is not None
    assert (read.id, read.status, read.stages) == (written.id, "done", [a_row(0), a_row(1)])
    assert read.provenance["store_seconds"] > 0
    assert read.provenance.items() >= {"torch": "2", "seconds": 0.1, "attempts": 1}.items()
    assert store.damaged == {}
    assert store.finished([a_spec(1), a_spec()]) == [read] == list(store.records())


def test_stage_is_on_disk_before_the_next_one_starts(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.open(a_spec()) as writer:
        writer.append(a_row(0))
        lines = (writer.folder / "stages.jsonl").read_text().splitlines()
        assert [json.loads(line) for line in lines] == [a_row(0)]
        assert store.read(a_spec().id) is None
        assert list(store.records()) == []


@pytest.mark.parametrize("error", [ValueError("no\nidea"), KeyboardInterrupt(), SystemExit(1)])
def test_interrupted_run_does_not_exist_and_its_reason_is_written(
    error: BaseException, tmp_path: Path
) -> None:
    store = Store(tmp_path)
    writer = store.open(a_spec())

    def stop() -> None:
        with writer:
            writer.append(a_row(0))
            raise error

    with pytest.raises(type(error)):
        stop()
    assert store.read(a_spec().id) is None
    last = json.loads((writer.folder / "events.jsonl").read_text().splitlines()[-1])
    what = "stopped" if isinstance(error, KeyboardInterrupt) else "failed"
    assert (last["event"], last["error"].partition(":")[0]) == (what, type(error).__name__)
    assert (writer.folder / "failed.json").exists() == (what == "failed")
    assert finish(store, a_spec()).provenance["attempts"] == 2


def _edit(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        plain = json.loads(path.read_text())
        change(plain)
        path.write_text(json.dumps(plain))

    return damage


def _with_provenance(field: str, value: object) -> Callable[[Path], None]:
    return _edit(lambda plain: (plain["provenance"].update({field: value}), plain.pop("digest")))


def _into_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_text(""),
    "cut": lambda path: path.write_text(path.read_text()[:-20]),
    "a list": lambda path: path.write_text("[]"),
    "not text": lambda path: path.write_bytes(b"\xff\xfe"),
    "a folder": _into_a_folder,
    "a number changed": _edit(lambda plain: plain["stages"][1].update(test_accuracy=0.99)),
    "another seed": _edit(lambda plain: (plain["spec"].update(seed=3), plain.pop("digest"))),
    "no description": _edit(lambda plain: (plain.pop("spec"), plain.pop("digest"))),
    "a stage less": _edit(lambda plain: (plain["stages"].pop(0), plain.pop("digest"))),
    "no stages": _edit(lambda plain: (plain["stages"].clear(), plain.pop("digest"))),
    "stages on different data": _edit(
        lambda plain: (plain["stages"][0].update(data="other"), plain.pop("digest"))
    ),
    "status": _edit(lambda plain: (plain.update(status="great"), plain.pop("digest"))),
    **{
        f"{field}: {value!r}": _with_provenance(field, value)
        for field in ("data", "weights", "device", "threads", "files", "started", "seconds", "tuned", "torch")
        for value in (False, [1], {"a": 1})
    },
    "no time": _with_provenance("finished", "soon"),
}


@pytest.mark.parametrize("how", DAMAGES)
def test_damaged_run_is_named_and_counts_as_not_finished(how: str, tmp_path: Path) -> None:
    store = Store(tmp_path)
    finish(store, a_spec())
    finish(store, a_spec(1))
    path = store.folder(a_spec().id) / "run.json"
    DAMAGES[how](path)
    assert [record.spec.seed for record in store.records()] == [1]
    assert [record.spec.seed for record in store.finished([a_spec(), a_spec(1)])] == [1]
    assert list(store.damaged) == [path]
    assert "\n" not in store.damaged[path]


def test_damaged_run_file_is_kept_when_the_run_is_repeated(tmp_path: Path) -> None:
    store = Store(tmp_path)
    path = store.folder(finish(store, a_spec()).id) / "run.json"
    path.write_text("half")
    finish(store, a_spec())
    again = Store(tmp_path)
    assert again.read(a_spec().id) is not None
    assert again.damaged == {}
    assert path.with_name("run.damaged.json").read_text() == "half"


def test_folder_under_another_id_is_not_that_run(tmp_path: Path) -> None:
    store = Store(tmp_path)
    folder = store.folder(finish(store, a_spec()).id)
    other = store.folder(a_spec(1).id)
    other.parent.mkdir(exist_ok=True)
    folder.rename(other)
    assert list(store.records()) == []
    assert list(store.damaged) == [other / "run.json"]


def test_runs_of_two_machines_are_merged_by_copying(tmp_path: Path) -> None:
    one, two = Store(tmp_path / "one"), Store(tmp_path / "two")
    finish(one, a_spec())
    finish(two, a_spec(1))
    folder = one.folder(a_spec(1).id)
    folder.parent.mkdir(exist_ok=True)
    two.folder(a_spec(1).id).rename(folder)
    assert sorted(record.spec.seed for record in one.records()) == [0, 1]


NO_SPACE = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from support.stores import a_spec, finish
from plastibench.store.run_store import Store
for limit in (0, 100, 200, 300, 400, 500, 600, 700):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        finish(Store(Path(sys.argv[2]) / str(limit)), a_spec())
        print(limit, "finished")
    except OSError as error:
        print(limit, error.strerror)
"""


def test_full_disk_leaves_nothing_that_counts_as_a_run(tmp_path: Path) -> None:
    said = child("-c", NO_SPACE, str(Path(__file__).parents[1]), str(tmp_path))
    homes = sorted(int(path.name) for path in tmp_path.iterdir())
    assert len(homes) == 8
    assert said.stdout.splitlines() == [f"{limit} File too large" for limit in homes], said.stderr
    assert list((tmp_path / "700").rglob("stages.jsonl")), (
        "not even a stage: the limits are too small to tell"
    )
    for limit in homes:
        store = Store(tmp_path / str(limit))
        assert store.read(a_spec().id) is None
        assert store.damaged == {}
        assert list(store.home.rglob(".*")) == []
        assert finish(store, a_spec()).status == "done"


def test_file_is_written_atomically(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write_atomic(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomic(path, "new \udcff")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_home_that_cannot_be_written_is_an_error_of_the_request(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RequestError, match="cannot be written"):
        Store(tmp_path / "file" / "home").prepare()
    assert free_bytes(tmp_path / "not" / "there") > 0


@pytest.mark.parametrize(
    ("name", "value"),
    [("steps", 0), ("steps", 1.5), ("steps", None), ("steps", 1 << 70), ("stop", "max_epochs"), ("data", "")],
)
def test_sound_values_of_a_stage_are_accepted(name: str, value: object) -> None:
    check_row({"index": 0, name: value})


@pytest.mark.parametrize("value", [True, math.nan, math.inf, [], {}])
@pytest.mark.parametrize("name", ["steps", "stop", "data"])
def test_other_values_of_a_stage_are_refused(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{name} is "):
        check_row({"index": 0, name: value})


def test_text_and_numbers_of_a_stage_are_not_mixed_up() -> None:
    for row in ({"steps": "word"}, {"stop": 0}, {"stop": None}, {"data": 1.5}):
        with pytest.raises(ValueError, match=" is "):
            check_row(row)


def test_store_needs_no_torch() -> None:
    assert (
        child("-c", "import sys, plastibench.store.run_store; print('torch' in sys.modules)").stdout
        == "False\n"
    )
    assert "torch" in sys.modules
