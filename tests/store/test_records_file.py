"""Files of finished runs: the same bytes for the same runs, and one line that says why one is refused."""

from __future__ import annotations

import lzma
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.recorded import BOARD, a_file, forge, lines_of, put_together
from support.reports import a_home, a_run, some_runs

from plastibench.errors import RequestError
from plastibench.experiments.spec import Part
from plastibench.plugins.plugin import Plugin
from plastibench.plugins.source import Source
from plastibench.store.record import Record
from plastibench.store.record_diff import differences
from plastibench.store.recorded_runs import RecordedRuns
from plastibench.store.records_file import MAX_BYTES, read_records
from plastibench.store.run_store import Store
from plastibench.store.tuned_settings import TunedSettings
from plastibench.store.verifications import Mark, save

RUN = a_run("mine", 0)
KEY = ("method", "mine", RUN.spec.method.code)


def a_plugin(name: str = "mine", **files: bytes) -> Plugin:
    named = {f"{file}.py": content for file, content in (files or {name: b"x = 1\n"}).items()}
    return Plugin("method", name, source=Source(name, named, Path()))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return a_file(tmp_path / "board.jsonl.xz", some_runs(2), plugins={KEY: a_plugin()})


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    tuned = {RUN.variant_id: TunedSettings("a study", 20, 7, {"learning_rate": 0.2}, "abc", published=True)}
    plugin = a_plugin(mine=b"x = 1\n", latin=b"# \xe9\n")
    path = a_file(tmp_path / "new" / "f.jsonl.xz", [RUN], plugins={KEY: plugin}, tuned=tuned)
    content = read_records(path)
    assert (content.board, content.runs, content.tuned) == (BOARD, (RUN,), tuned)
    source, wanted = content.plugins[KEY].source, plugin.source
    assert source is not None
    assert wanted is not None
    assert (source.module, source.files) == (wanted.module, wanted.files)
    assert content.plugins[KEY].digest() == plugin.digest()
    assert a_file(tmp_path / "again", content.runs, plugins=content.plugins, tuned=tuned).read_bytes() == (
        path.read_bytes()
    )


def test_the_order_of_runs_does_not_matter_and_each_has_a_line(tmp_path: Path) -> None:
    first = a_file(tmp_path / "a", some_runs(3))
    assert a_file(tmp_path / "b", reversed(some_runs(3))).read_bytes() == first.read_bytes()
    lines = lines_of(first)
    assert [line["id"] for line in lines[1:]] == [
        a_run(method, seed).id for method in ("cold", "mine", "warm") for seed in range(3)
    ]
    more = lines_of(a_file(tmp_path / "c", [*some_runs(3), a_run("new", 0)]))
    assert [line for line in more[1:] if line not in lines] == [
        lines_of(a_file(tmp_path / "d", [a_run("new", 0)]))[1]
    ]


def test_runs_are_read_like_those_of_a_home(path: Path, tmp_path: Path) -> None:
    store, source = Store(a_home(tmp_path / "home", some_runs(2))), RecordedRuns.from_paths([path])
    assert source.ids() == store.ids()
    for run in store.ids():
        theirs = store.read(run)
        assert theirs is not None
        # A home adds how often a run was tried.
        mine = source.read(run)
        assert mine is not None
        assert (mine.spec, mine.stages, mine.metrics) == (theirs.spec, theirs.stages, theirs.metrics)
    assert source.read("0" * 16) is None


def _in_stage(**values: Any) -> Callable[[dict[str, Any]], object]:
    return lambda run: run["stages"][0].update(values)


def _in_provenance(**values: Any) -> Callable[[dict[str, Any]], object]:
    return lambda run: run["provenance"].update(values)


@pytest.mark.parametrize(
    ("change", "digest", "expected"),
    [
        (lambda run: run["stages"][0].update(steps=1), False, "line 8: it was changed after it was written"),
        (lambda run: run["stages"][0].update(steps="many"), True, "line 8: steps is 'many'"),
        (lambda run: run["spec"].update(seed=77), True, "line 8: its id is not that of its description"),
        (lambda run: run.pop("stages"), True, "line 8: 'stages' is missing"),
        (lambda run: run.update(provenance=3), True, "line 8: "),
        (
            lambda run: run.update(more=1),
            True,
            r"line 8: run \w+ \(some_task .* it has fields that no run has",
        ),
        (lambda run: run["spec"].update(more=1), True, "line 8: run .* it has fields that no run has"),
        (
            _in_stage(test_accuracy=1.01),
            True,
            r"line 8: run .* stage 1: test_accuracy is 1.01: it must be in 0..1",
        ),
        (_in_stage(test_accuracy=-0.1), True, "line 8: run .* stage 1: test_accuracy is -0.1"),
        (_in_stage(test_accuracy=None), True, "line 8: run .* stage 1: test_accuracy is missing"),
        (_in_stage(steps=-1), True, "line 8: run .* stage 1: steps is -1: it must be 0 or more"),
        (
            _in_stage(train_seconds=-0.5),
            True,
            "line 8: run .* stage 1: train_seconds is -0.5: it must be 0 or",
        ),
        (_in_stage(train_flops=10**300), True, "line 8: run .* stage 1: train_flops is 1000.*: it must be"),
        (_in_stage(train_loss=10**400), True, "line 8: train_loss is 1000"),
        (
            lambda run: [row.update(data="x") for row in run["stages"]],
            True,
            "line 8: .* stage 1: its data are x, those",
        ),
        (_in_stage(stop="\x1b[2J"), True, r"line 8: run .* '.x1b.2J' has characters that cannot be printed"),
        (
            lambda run: run.update(status="diverged"),
            True,
            "line 8: run .* its status is 'diverged', but its last",
        ),
        (_in_provenance(threads=0), True, "line 8: run .* threads is 0: it must be 1 or more"),
        (_in_provenance(seconds=-1), True, "line 8: run .* seconds is -1: it must be 0 or more"),
        (_in_provenance(host="a\u202eb"), True, "line 8: run .* has characters that cannot be printed"),
        (_in_provenance(verified="x"), True, "line 8: run .* verified is noted beside a record"),
        (
            _in_provenance(started="2026-01-02T00:00:00+00:00", finished="2026-01-01"),
            True,
            "line 8: run .* finished is 2026-01-01, before started, 2026-01-02",
        ),
    ],
)
def test_changed_run_is_named(
    path: Path, change: Callable[[dict[str, Any]], object], digest: bool, expected: str
) -> None:
    with pytest.raises(RequestError, match=f"{path} is refused: {expected}"):
        read_records(forge(path, change, digest=digest))


def _described(**changes: Any) -> Record:
    return replace(RUN, spec=replace(RUN.spec, **changes))


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (_described(seed="<b>"), "seed is '<b>'"),
        (_described(seed=-1), "seed is -1: it must be 0 or more"),
        (_described(seed=True), "seed is True"),
        (_described(device=3), "device is 3"),
        (_described(protocol=1.5), "protocol is 1.5"),
        (_described(held_out_test=True), "is one of a tuning, which never sees the test data"),
        (_described(method=Part("", {}, "c")), "the name of a plug-in is ''"),
        (_described(method=Part("a\nb", {}, "c")), r"'a.nb' has characters that cannot be printed"),
        (_described(method=Part("mine", {"x": "\x07"}, "c")), "has characters that cannot be printed"),
        (
            replace(
                _described(recipe={"test_accuracy": "examples"}),
                stages=[{**RUN.stages[0], "test_accuracy": 0.5001, "test_correct": 5, "num_test": 10}],
            ),
            "stage 1: test_accuracy is 0.5001, but 5 of 10 is 0.5",
        ),
    ],
)
def test_what_no_run_can_have_is_refused(tmp_path: Path, run: Record, expected: str) -> None:
    with pytest.raises(RequestError, match=f"(?s)is refused: line 2: run {run.id} .*{expected}"):
        read_records(a_file(tmp_path / "f", [run]))


def test_lines_that_are_no_plain_json_are_refused(path: Path) -> None:
    lines = lzma.decompress(path.read_bytes()).decode().splitlines()
    for line, expected in (
        (lines[-1].replace('"steps":', '"steps":NaN,"x":'), "line 8: Out of range float values"),
        (lines[-1].replace('"seed":', '"seed":7,"seed":'), "line 8: .* it has fields that no run has"),
        (lines[-1].replace(",", ", "), "line 8: .* it has fields that no run has"),
        ("[" * 100_000, "line 8: "),
        ("[]", "line 8: "),
        ("3", "line 8: "),
    ):
        path.write_bytes(lzma.compress("\n".join([*lines[:-1], line, ""]).encode()))
        with pytest.raises(RequestError, match=f"is refused: {expected}"):
            read_records(path)


def test_source_and_tunings_are_there_once(tmp_path: Path) -> None:
    tuned = {RUN.variant_id: TunedSettings("a study", 20, 7)}
    path = a_file(tmp_path / "f", [RUN], plugins={KEY: a_plugin()}, tuned=tuned)
    head, plugin, origin, run = lines_of(path)
    for lines, expected in (
        ([head, plugin, plugin, origin, run], "line 3: the source of method mine is in the file twice"),
        ([head, plugin, origin, origin, run], f"line 4: two tunings .* chosen variant {RUN.variant_id}"),
    ):
        with pytest.raises(RequestError, match=f"is refused: {expected}"):
            read_records(put_together(path, lines))


def test_of_two_marks_of_a_run_that_of_its_content_counts(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in "abc"]
    for folder, record in zip(folders, (RUN, RUN, RUN.with_provenance(host="other")), strict=True):
        folder.mkdir()
        save(folder, {RUN.id: Mark.of("equal", record, record)})
    files = [a_file(folder / "f", [RUN]) for folder in folders]
    for paths in (files, files[::-1]):
        assert RecordedRuns.from_paths(paths).verifications()[RUN.id].digest == RUN.digest
    assert RecordedRuns.from_paths(files[2:]).verifications() == {}


def test_a_column_that_only_one_of_two_equal_versions_has_is_a_difference() -> None:
    invented = replace(RUN, stages=[{**row, "log.units_recycled": 3} for row in RUN.stages])
    labels = ("in a", "in b")
    expected = "stage 1, log.units_recycled: absent in a, 3 in b"
    assert next(differences(RUN, invented, labels)) == expected
    assert next(differences(invented, RUN, labels)) == "stage 1, log.units_recycled: 3 in a, absent in b"
    assert not list(differences(RUN, invented.with_provenance(plastibench="9"), labels))


def test_a_run_that_was_changed_with_its_digest_is_noticed_by_that_of_the_file(path: Path) -> None:
    lines = lines_of(path)
    other = lines_of(a_file(path.with_name("b"), [a_run("warm", 1).with_provenance(host="x")]))[1]
    put_together(path, [*lines[:-1], other], digest=False)
    with pytest.raises(RequestError, match="its digest is wrong: it was changed after it was written"):
        read_records(path)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda lines: [*lines, lines[-1]], "line 9: run .* is in the file twice"),
        (lambda lines: lines[:-1], "it says that it holds 6 runs, and holds 5"),
        (lambda lines: lines[1:], "line 1: 'format' is missing"),
        (lambda lines: [{**lines[0], "version": 2}, *lines[1:]], "line 1: its version is 2; this version"),
        (lambda lines: [{**lines[0], "board": {"name": 3}}, *lines[1:]], "line 1: "),
        (
            lambda lines: [{**lines[0], "board": {**lines[0]["board"], "name": "../x"}}, *lines[1:]],
            r"line 1: its board is \{'baseline': 'warm', 'cost_reference': 'cold', 'name': '../x'\}",
        ),
        (
            lambda lines: [lines[0], {"plugin": {**lines[1]["plugin"], "name": "other"}}, *lines[2:]],
            "no run was",
        ),
        (
            lambda lines: [lines[0], {"plugin": {**lines[1]["plugin"], "kind": "x"}}, *lines[2:]],
            "line 2: 'x' is",
        ),
        (
            lambda lines: [
                lines[0],
                {"plugin": {**lines[1]["plugin"], "files": {"../a.py": ""}}},
                *lines[2:],
            ],
            "line 2: '../a.py' is no path of a module below the plug-in's folder",
        ),
        *(
            (
                lambda lines, file=file: [
                    lines[0],
                    {"plugin": {**lines[1]["plugin"], "files": {file: ""}}},
                    *lines[2:],
                ],
                "line 2: .* is no path of a module below the plug-in's folder",
            )
            for file in (
                "/etc/a.py",
                "a/../../b.py",
                "C:/a.py",
                "..\\a.py",
                "a//b.py",
                "a.sh",
                "",
                "a\0.py",
                "./a.py",
            )
        ),
        (
            lambda lines: [lines[0], {"plugin": {**lines[1]["plugin"], "module": "a\nb"}}, *lines[2:]],
            "line 2: 'a.nb' has characters that cannot be printed",
        ),
        (
            lambda lines: [lines[0], {"tuned": {"variant": "v", "x": 1}}, *lines[2:]],
            "line 2: tuned = {'x': 1} is",
        ),
        (
            lambda lines: [
                lines[0],
                {
                    "tuned": {
                        "variant": RUN.variant_id,
                        "study": "s",
                        "trials": 3,
                        "trial": 0,
                        "instead_of": {"no_such": 1},
                    }
                },
                *lines[2:],
            ],
            "study s chose no_such, which is no setting of the recipe",
        ),
        *(
            (
                lambda lines, field=field: [
                    lines[0],
                    {"tuned": {"variant": "v", "study": "s", "trials": 3, "trial": 0, **field}},
                    *lines[2:],
                ],
                expected,
            )
            for field, expected in (
                ({}, "no run has the settings that study s chose"),
                ({"trials": "<b>"}, "line 2: trials of a tuning is '<b>'"),
                ({"trials": 0}, "line 2: trials of a tuning is 0"),
                ({"instead_of": "x"}, "line 2: instead_of of a tuning is 'x'"),
                ({"passes": -1}, "line 2: passes of a tuning is -1"),
                ({"passes": 10**400}, "line 2: passes of a tuning is 1000"),
                ({"study": "a\x9b"}, "line 2: 'a.x9b' has characters that cannot be printed"),
            )
        ),
    ],
)
def test_file_with_other_lines_is_refused(path: Path, change: Callable[[Any], Any], expected: str) -> None:
    put_together(path, change(lines_of(path)))
    with pytest.raises(RequestError, match=expected):
        read_records(path)


def test_file_that_is_not_whole_is_refused(path: Path) -> None:
    whole = path.read_bytes()
    for content, expected in (
        (whole[: len(whole) // 2], "it ends too early"),
        (whole + b"more", "something follows its end"),
        (b"", "it ends too early"),
        (b"PK is not what begins such a file", "it is not one that `plastibench submit` writes"),
        (lzma.compress(bytes(MAX_BYTES + 1), preset=0), "it is longer than 67,108,864 bytes"),
    ):
        path.write_bytes(content)
        with pytest.raises(RequestError, match=expected):
            read_records(path)
    with pytest.raises(RequestError, match=r"nowhere cannot be read: No such file"):
        read_records(path.with_name("nowhere"))


def test_runs_of_a_setting_have_equally_many_stages(tmp_path: Path) -> None:
    short = replace(a_run("warm", 1), stages=a_run("warm", 1).stages[:-1])
    expected = (
        rf"run {short.id} \(.* seed 1\) has 2 stages, and run {RUN.id} \(.* seed 0\) of its setting has 3"
    )
    with pytest.raises(RequestError, match=rf"both is refused: {expected}"):
        read_records(a_file(tmp_path / "both", [RUN, short]))
    files = [a_file(tmp_path / "a", [RUN]), a_file(tmp_path / "b", [short])]
    with pytest.raises(RequestError, match=expected):
        RecordedRuns.from_paths(files)
    lost = [{**row, "stop": "diverged"} for row in short.stages]
    diverged = replace(short, status="diverged", stages=lost)
    assert len(read_records(a_file(tmp_path / "c", [RUN, diverged])).runs) == 2


def test_files_with_different_numbers_for_a_run_are_refused(path: Path) -> None:
    same = a_file(path.with_name("same"), [RUN, a_run("new", 0)])
    assert len(RecordedRuns.from_paths([path, same]).ids()) == 7
    rows = [{**row, "steps": row["steps"] + 1} for row in RUN.stages]
    other = a_file(path.with_name("other"), [replace(RUN, stages=rows)])
    with pytest.raises(RequestError, match=rf"run {RUN.id} .* differs: stage 1, steps: \d+ in {path}, "):
        RecordedRuns.from_paths([path, other])
