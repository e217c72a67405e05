"""Merging of home folders: undamaged copies only, conflicts are reported."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from support.commands import CommandResult, command
from support.reports import a_home, a_run, some_runs

from plastibench.store import tuned_settings
from plastibench.store.record import Record
from plastibench.store.run_status import run_lock
from plastibench.store.run_store import Store


def merge(target: Path, *homes: Path) -> CommandResult:
    return command("merge", *homes, "--home", target)


def files(home: Path) -> dict[Path, bytes]:
    return {path.relative_to(home): path.read_bytes() for path in home.rglob("*") if path.is_file()}


def shifted(record: Record, **by: float) -> Record:
    stages = [{**row, **{name: row[name] + more for name, more in by.items()}} for row in record.stages]
    return replace(record, stages=stages)


def ids(records: Iterable[Record]) -> list[str]:
    return sorted(record.id for record in records)


def test_runs_of_two_homes_become_one_table(tmp_path: Path) -> None:
    a = a_home(tmp_path / "a", some_runs(2))
    b = a_home(tmp_path / "b", [*some_runs(2, methods=["new"]), a_run("warm", 5)])
    whole = a_home(tmp_path / "whole", [*Store(a).records(), *Store(b).records()])
    before = files(a) | files(b)
    done = merge(tmp_path / "both", a, b)
    assert done.status == 0, done.err
    assert "9 copied" in done.err
    assert files(tmp_path / "both") == before == files(a) | files(b)
    assert command("table", "--home", tmp_path / "both").out == command("table", "--home", whole).out


def test_a_merge_that_is_repeated_changes_nothing(tmp_path: Path) -> None:
    a, b = a_home(tmp_path / "a", some_runs(1)), a_home(tmp_path / "b", some_runs(2))
    assert merge(b, a).status == 0
    times = {path: path.stat().st_mtime_ns for path in b.rglob("*.*")}
    again = merge(b, a)
    assert again.status == 0
    assert "3 already present" in again.err
    assert {path: path.stat().st_mtime_ns for path in b.rglob("*.*")} == times


def test_a_damaged_run_is_named_and_left_out(tmp_path: Path) -> None:
    a = a_home(tmp_path / "a", some_runs(1))
    path = Store(a).folder(a_run("warm", 0).id) / "run.json"
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 1'))
    done = merge(tmp_path / "both", a)
    assert done.status == 1
    assert f"{path} is damaged (ValueError: it was changed after it was written): left out" in done.err
    assert ids(Store(tmp_path / "both").records()) == ids([a_run("cold", 0), a_run("mine", 0)])


def test_undamaged_copy_replaces_a_damaged_one(tmp_path: Path) -> None:
    a, b = a_home(tmp_path / "a", some_runs(1)), a_home(tmp_path / "b", some_runs(1))
    path = Store(a).folder(a_run("warm", 0).id) / "run.json"
    path.write_text("half")
    assert merge(tmp_path / "both", a, b).status == 1
    assert len(list(Store(tmp_path / "both").records())) == 3
    mended = merge(a, b)
    assert mended.status == 0
    assert f"{path} was damaged: an undamaged copy has replaced it" in mended.err
    assert path.with_name("run.damaged.json").read_text() == "half"


def test_conflicting_copies_are_named_and_none_is_copied(tmp_path: Path) -> None:
    run = a_run("warm", 0)
    a, b = a_home(tmp_path / "a", some_runs(1)), a_home(tmp_path / "b", [shifted(run, test_accuracy=0.25)])
    for homes in ((a, b), (b, a)):
        target = tmp_path / f"of {homes[0].name}"
        done = merge(target, *homes)
        assert done.status == 1
        assert f"{run.id} some_task some_model warm seed 0: 3 numbers differ (stage 1, test_acc" in done.err
        assert f"in {a}" in done.err
        assert f"in {b}" in done.err
        assert "none is copied" in done.err
        assert "made by the same device and versions: one of them is wrong" in done.err
        assert ids(Store(target).records()) == ids([a_run("cold", 0), a_run("mine", 0)])


def test_copies_made_on_different_data_are_named_as_such(tmp_path: Path) -> None:
    run = a_run("warm", 0)
    a, b = a_home(tmp_path / "a", [run]), a_home(tmp_path / "b", [run.with_provenance(data="fedcba")])
    done = merge(tmp_path / "both", a, b)
    assert done.status == 1
    assert (
        f"{run.id} some_task some_model warm seed 0: the copies were made on different data (data: "
        f"0123456789abcdef in {a}, fedcba in {b}): none is copied" in done.err
    )
    assert list(Store(tmp_path / "both").records()) == []


def test_conflicting_copy_does_not_replace_the_targets(tmp_path: Path) -> None:
    mine, theirs = a_run("warm", 0), shifted(a_run("warm", 0), test_accuracy=0.25)
    a = a_home(tmp_path / "a", [replace(theirs, provenance={**theirs.provenance, "torch": "2.12"})])
    target = a_home(tmp_path / "target", [mine])
    before = files(target)
    done = merge(target, a)
    assert done.status == 1
    assert "the target's copy stays" in done.err
    assert "torch 2.11 and 2.12" in done.err
    assert files(target) == before


def test_different_times_are_no_conflict_and_are_reported(tmp_path: Path) -> None:
    run = a_run("warm", 0)
    a, b = a_home(tmp_path / "a", [run]), a_home(tmp_path / "b", [shifted(run, train_seconds=7.0)])
    done = merge(tmp_path / "both", b, a)
    assert done.status == 0
    assert "1 run was executed more than once with the same numbers" in done.err
    (kept,) = Store(tmp_path / "both").records()
    assert kept.stages == shifted(run, train_seconds=7.0).stages


def test_locked_run_is_left_out(tmp_path: Path) -> None:
    a, target = a_home(tmp_path / "a", some_runs(1)), Store(tmp_path / "target")
    run = a_run("warm", 0).id
    with run_lock(target.folder(run)):
        done = merge(target.home, a)
        assert done.status == 1
        assert f"{run} some_task some_model warm seed 0: process" in done.err
        assert target.read(run) is None
    assert merge(target.home, a).status == 0
    assert target.read(run) is not None


def test_unfinished_runs_stay_and_a_finished_copy_replaces_one(tmp_path: Path) -> None:
    run = a_run("warm", 0)
    a, b = a_home(tmp_path / "a", [run]), a_home(tmp_path / "b", [a_run("cold", 0)])
    with Store(b).open(run.spec) as attempt:
        attempt.append(run.stages[0])
        (attempt.folder / "checkpoint.pt").write_text("a state")
        (attempt.folder / "failed.json").write_text("{}")
    done = merge(tmp_path / "both", b)
    assert (done.status, "1 run is not finished: left in" in done.err) == (0, True)
    assert not Store(tmp_path / "both").folder(run.id).exists()
    assert merge(b, a).status == 0
    assert {path.name for path in attempt.folder.iterdir()} == {
        "run.json",
        "spec.json",
        "stages.jsonl",
        "events.jsonl",
    }
    assert len((attempt.folder / "stages.jsonl").read_text().splitlines()) == 3


def test_tuned_settings_are_copied(tmp_path: Path) -> None:
    run = a_run("mine", 0)
    a, target = a_home(tmp_path / "a", [run]), tmp_path / "target"
    origin = tuned_settings.TunedSettings(study="s", trials=9, trial=4)
    tuned_settings.save(a, {run.spec.variant_id: origin})
    assert merge(target, a).status == 0
    assert tuned_settings.load(target) == {run.spec.variant_id: origin}
    assert "mine (tuned, 9 trials)" in command("table", "--home", target).out
    tuned_settings.save(a, {run.spec.variant_id: replace(origin, study="later")})
    again = merge(target, a)
    assert f"settings that study later chose in {a} are kept as those of study s" in again.err
    assert tuned_settings.load(target) == {run.spec.variant_id: origin}
    dearer = replace(origin, passes=7.0)
    tuned_settings.save(a, {run.spec.variant_id: dearer})
    assert "are kept as those" not in merge(target, a).err
    assert tuned_settings.load(target) == {run.spec.variant_id: dearer}


def test_suites_of_tunings_are_copied_with_their_plugins(tmp_path: Path) -> None:
    a, b = (a_home(tmp_path / name, [a_run("mine", seed)]) for seed, name in enumerate("ab"))
    target = tmp_path / "target"
    for home, text in ((a, 'name = "best"\n'), (b, 'name = "best" # later\n')):
        for path, content in (
            (tuned_settings.suite_path(home, "best"), text),
            (tuned_settings.plugins_path(home, "best"), f"the plug-ins of {home}"),
        ):
            path.parent.mkdir(exist_ok=True)
            path.write_text(content)
    merged = merge(target, a, b)
    assert f"tuning best of {b} is left out: {target} has another of that name" in merged.err
    for path_of in (tuned_settings.suite_path, tuned_settings.plugins_path):
        assert path_of(target, "best").read_bytes() == path_of(a, "best").read_bytes()
    assert "left out" not in merge(target, a).err


def test_a_run_finished_meanwhile_is_compared_and_not_replaced(tmp_path: Path) -> None:
    from plastibench.workflows.merge import RunCopy, write_copy

    run = a_run("warm", 0)
    a, target = a_home(tmp_path / "a", [shifted(run, test_accuracy=0.25)]), a_home(tmp_path / "t", [run])
    before = files(target)
    found = Store(a).read_with_text(run.id)
    assert found is not None
    assert not write_copy(RunCopy(Store(a), *found), Store(target))
    assert files(target) == before


@pytest.mark.parametrize(
    ("homes", "expected"),
    [
        (["nowhere"], "no finished runs in {tmp}/nowhere"),
        (["a", "empty"], "no finished runs in {tmp}/empty"),
        (["a", "target"], "{tmp}/target is the target"),
    ],
)
def test_invalid_home_prints_one_line_and_nothing_is_copied(
    tmp_path: Path, homes: list[str], expected: str
) -> None:
    a_home(tmp_path / "a", some_runs(1))
    (tmp_path / "empty").mkdir()
    target = a_home(tmp_path / "target", [a_run("new", 0)])
    before = files(target)
    done = merge(target, *(tmp_path / home for home in homes))
    assert (done.status, len(done.lines())) == (2, 1)
    assert expected.format(tmp=tmp_path) in done.err
    assert files(target) == before


def test_the_copied_text_is_the_one_that_was_checked(tmp_path: Path) -> None:
    a = a_home(tmp_path / "a", [a_run("warm", 0)])
    assert merge(tmp_path / "both", a).status == 0
    (path,) = (tmp_path / "both").glob("runs/??/*/run.json")
    assert json.loads(path.read_text())["digest"]
    assert path.read_bytes() == (a / path.relative_to(tmp_path / "both")).read_bytes()
