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
from plastibench.plugins.plugin import Plugin
from plastibench.plugins.source import Source
from plastibench.store.recorded_runs import RecordedRuns
from plastibench.store.records_file import MAX_BYTES, read_records
from plastibench.store.run_store import Store
from plastibench.store.tuned_settings import TunedSettings

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


@pytest.mark.parametrize(
    ("change", "digest", "expected"),
    [
        (lambda run: run["stages"][0].update(steps=1), False, "line 8: it was changed after it was written"),
        (lambda run: run["stages"][0].update(steps="many"), True, "line 8: steps is 'many'"),
        (lambda run: run["spec"].update(seed=77), True, "line 8: its id is not that of its description"),
        (lambda run: run.pop("stages"), True, "line 8: 'stages' is missing"),
        (lambda run: run.update(provenance=3), True, "line 8: "),
    ],
)
def test_changed_run_is_named(
    path: Path, change: Callable[[dict[str, Any]], object], digest: bool, expected: str
) -> None:
    with pytest.raises(RequestError, match=f"{path} is refused: {expected}"):
        read_records(forge(path, change, digest=digest))


def test_a_run_that_was_changed_with_its_digest_is_noticed_by_that_of_the_file(path: Path) -> None:
    lines = lines_of(path)
    other = lines_of(a_file(path.with_name("b"), [replace(a_run("warm", 1), status="diverged")]))[1]
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
            "line 2: '../a.py' is no path below the plug-in's folder",
        ),
        (
            lambda lines: [lines[0], {"tuned": {"variant": "v", "x": 1}}, *lines[2:]],
            "line 2: tuned = {'x': 1} is",
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


def test_files_with_different_numbers_for_a_run_are_refused(path: Path) -> None:
    same = a_file(path.with_name("same"), [RUN, a_run("new", 0)])
    assert len(RecordedRuns.from_paths([path, same]).ids()) == 7
    rows = [{**row, "steps": row["steps"] + 1} for row in RUN.stages]
    other = a_file(path.with_name("other"), [replace(RUN, stages=rows)])
    with pytest.raises(RequestError, match=rf"run {RUN.id} .* differs: stage 1, steps: \d+ in {path}, "):
        RecordedRuns.from_paths([path, other])
