"""Finished runs packed into a file, and read from it by the commands that read a home."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from support.commands import command, plugin, small_run
from support.recorded import a_file, forge
from support.reports import a_home, a_run, some_runs

import plastibench
from plastibench.experiments.spec import Part
from plastibench.store import tuned_settings
from plastibench.store.record import Record
from plastibench.store.records_file import read_records
from plastibench.store.run_store import Store

SHIPPED = {"methods": ("warm", "cold", "dash"), "task": "digits"}


def runs(seeds: int = 2) -> list[Record]:
    """Return runs of shipped plug-ins' names."""
    return [_shipped(record) for record in some_runs(seeds, **SHIPPED)]


def _shipped(record: Record) -> Record:
    return replace(record, spec=replace(record.spec, model=replace(record.spec.model, name="mlp_bn")))


def files(home: Path) -> dict[Path, bytes]:
    kept = ("run.json", "spec.json", "stages.jsonl", "plugins.zip", "chosen.json")
    return {path.relative_to(home): path.read_bytes() for path in home.rglob("*") if path.name in kept}


def test_a_packed_home_becomes_the_same_home_and_the_same_tables(tmp_path: Path) -> None:
    home, out = a_home(tmp_path / "home", runs()), tmp_path / "mine.jsonl.xz"
    cost = {"passes": 12345.0, "flops": 2.5e12, "seconds": 60.0}
    origin = tuned_settings.TunedSettings("s", trials=9, trial=4).with_cost(cost)
    tuned_settings.save(home, {runs()[2].variant_id: origin})
    packed = command("submit", "--home", home, "--out", out)
    assert packed.status == 0, packed.err
    assert "mine.jsonl.xz: board mine, 6 runs, " in packed.out
    assert "2 seeds of each method" in packed.out
    assert "tuned with 9 trials: study s, 12,345 passes, 2.5 TFLOPs, 60.0 s" in packed.out
    assert command("merge", out, "--home", tmp_path / "copy").status == 0
    assert files(tmp_path / "copy") == files(home)
    columns = "tuning_passes,tuning_flops,tuning seconds"
    shown = command("table", "--records", out, "--format", "md", "--columns", columns).out
    assert "| dash (tuned, 9 trials) | 12,345 | 2.50 | 60.0 |" in shown
    assert "| warm | - | - | - |" in shown
    assert "(trial 4 of 9 trials in study s, which took 12,345 passes, 2.5 TFLOPs, 60.0 s)" in shown
    for format in ("md", "csv", "json"):
        read = command("table", "--records", out, "--format", format, "--home", tmp_path / "none")
        assert read.status == 0, read.err
        assert read.out == command("table", "--home", home, "--format", format).out
    assert not (tmp_path / "none").exists()


@pytest.mark.heavy
def test_a_report_and_a_part_of_a_table_are_made_from_files(tmp_path: Path) -> None:
    parts = [a_file(tmp_path / f"{half}.xz", runs()[half::2]) for half in (0, 1)]
    words = [word for path in parts for word in ("--records", path)]
    page = tmp_path / "page.html"
    assert command("report", *words, "--out", page).status == 0
    assert "dash" in page.read_text()
    table = command("table", *words, "--task", "digits", "--method", "warm,dash", "--format", "md")
    assert ("| dash |" in table.out, "| warm |" in table.out, "| cold |" in table.out) == (True, True, False)
    missing = command("table", *words, "--seeds", "40-41", "--method", "warm")
    assert (missing.status, len(missing.lines())) == (2, 1)
    assert f"no finished runs of this kind in {parts[0]}, {parts[1]}" in missing.err


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([run.with_provenance(commit="abc+changes") for run in runs(1)], "made with uncommitted changes of"),
        ([runs(1)[0], runs(2)[-1].with_provenance(torch="2.12")], "the runs are mixed: torch is 2.1"),
        ([runs(1)[0], runs(2)[-1].with_provenance(data="fedc")], "the runs are mixed: data is"),
        ([a_run("warm", 0)], "keeps no source of task some_task: run it again"),
        ([], "no finished runs of this kind in"),
    ],
)
def test_what_nobody_could_check_is_refused_in_one_line(
    tmp_path: Path, records: list[Record], expected: str
) -> None:
    home = a_home(tmp_path / "home", records)
    refused = command("submit", "--home", home, "--out", tmp_path / "out")
    assert (refused.status, len(refused.lines())) == (2, 1)
    assert expected in refused.err
    assert not (tmp_path / "out").exists()


def test_settings_of_other_sizes_have_other_data_and_are_packed_together(tmp_path: Path) -> None:
    larger = [replace(run, spec=replace(run.spec, task=resized(run))) for run in runs(1)]
    larger = [run.with_provenance(data="fedcba") for run in larger]
    home = a_home(tmp_path / "home", [*runs(1), *larger])
    packed = command("submit", "--home", home, "--out", tmp_path / "out")
    assert (packed.status, "out: board out, 6 runs" in packed.out) == (0, True), packed.err


def resized(run: Record) -> Part:
    return replace(run.spec.task, settings={**run.spec.task.settings, "train_size": 500})


def test_unfinished_runs_are_named_or_left_out(tmp_path: Path) -> None:
    home = a_home(tmp_path / "home", runs())
    Store(home).open(_shipped(a_run("dash", 5, "digits")).spec).describe()
    words = ("submit", "--home", home, "--out", tmp_path / "out")
    refused = command(*words)
    assert (refused.status, len(refused.lines())) == (2, 1)
    assert "1 of 7 runs are not finished, such as digits mlp_bn dash seed 5" in refused.err
    assert command(*words, "--finished-only").status == 0
    assert len(read_records(tmp_path / "out").runs) == 6


def test_a_damaged_file_is_not_merged_at_all(tmp_path: Path) -> None:
    good, bad = a_file(tmp_path / "good.xz", runs(1)), a_file(tmp_path / "bad.xz", runs(2))
    forge(bad, lambda run: run["stages"][0].update(steps=1), digest=False)
    refused = command("merge", good, bad, "--home", tmp_path / "home")
    assert (refused.status, len(refused.lines())) == (2, 1)
    assert f"records file {bad} is refused: line 7: it was changed after it was written" in refused.err
    assert not (tmp_path / "home").exists()


def test_a_file_that_contradicts_the_home_is_left_out_and_a_duplicate_is_not_copied(tmp_path: Path) -> None:
    home = a_home(tmp_path / "home", runs())
    path = a_file(tmp_path / "f.xz", Store(home).records())
    assert "6 already present" in command("merge", path, "--home", home).err
    forge(path, lambda run: run["stages"][0].update(steps=1))
    before = files(home)
    merged = command("merge", path, "--home", home)
    assert merged.status == 1
    assert "1 number differs (stage 1, steps: " in merged.err
    assert files(home) == before


def test_two_files_are_compared_like_two_homes(tmp_path: Path) -> None:
    old, new = (a_file(tmp_path / f"{n}.jsonl.xz", runs(n)) for n in (2, 3))
    homes = [a_home(tmp_path / name, runs(n)) for name, n in (("a", 2), ("b", 3))]
    compared = command("compare", old, new, "--format", "csv")
    assert compared.status == 0, compared.err
    assert compared.out == command("compare", *homes, "--format", "csv").out
    refused = command("compare", old, tmp_path / "nothing.jsonl.xz")
    assert (refused.status, len(refused.lines())) == (2, 1)
    assert "nothing.jsonl.xz cannot be read: No such file" in refused.err


def test_files_are_read_from_python(tmp_path: Path) -> None:
    path = a_file(tmp_path / "f.xz", runs())
    (table,) = plastibench.table(records=path)
    assert [row.method for row in table.rows] == ["cold", "dash", "warm"]
    assert len(plastibench.results(records=[path], task="digits", methods="dash", seeds=2)) == 2
    with pytest.raises(TypeError, match="unexpected keyword argument 'records'"):
        plastibench.run(records=path)  # type: ignore[call-arg]


@pytest.mark.heavy
def test_the_source_of_a_plugin_travels_with_its_runs(tmp_path: Path) -> None:
    file = plugin(tmp_path, "mine", "def before_stage(self, learner): learner.head.weight.mul_(0.5)")
    home, out, copy = (tmp_path / name for name in ("home", "out.jsonl.xz", "copy"))
    assert small_run(home, "--plugin", file, "--method", "mine").status == 0
    (record,) = Store(home).records()
    (folder,) = home.glob("runs/??/*")
    a_home(home, [record.with_provenance(commit="abc")])
    packed = command("submit", "--home", home, "--out", out)
    assert packed.status == 0, packed.err
    assert f"source of method mine (code {record.spec.method.code}) is in the file" in packed.out
    assert command("merge", out, "--home", copy).status == 0
    assert files(copy) == files(home)
    file.unlink()
    assert command("verify", "--home", copy, folder.name).status == 0
