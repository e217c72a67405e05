"""Comparison of two homes or suites: paired if possible, times on equal hardware only."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from scipy import stats as scipy_stats
from support.commands import CommandResult, command, small_run
from support.reports import a_home, a_run, some_runs

from plastibench.experiments.spec import Part
from plastibench.store.record import Record

Change = Callable[[Record], Record]


def compare(a: Path | str, b: Path | str, *more: object) -> CommandResult:
    return command("compare", a, b, *more)


def plain(a: Path, b: Path) -> dict[str, Any]:
    done = compare(a, b, "--format", "json")
    assert done.status == 0, done.err
    return dict(json.loads(done.out))


def better(record: Record, by: float = 0.03) -> Record:
    """Return a run with higher accuracies, by a little less for each seed."""
    more = by - 0.001 * record.spec.seed
    stages = [{**row, "test_accuracy": row["test_accuracy"] + more} for row in record.stages]
    return replace(record, stages=stages)


def on(record: Record, device: str) -> Record:
    return replace(record, provenance={**record.provenance, "device": device})


def edited(record: Record, **more: Any) -> Record:
    """Return a run of other code of its method, or of other settings."""
    part = replace(record.spec.method, **more)
    return replace(record, spec=replace(record.spec, method=part))


def average(record: Record) -> float:
    return record.metrics.average


def test_differences_are_paired_by_seed(tmp_path: Path) -> None:
    ours = some_runs(4, methods=["warm", "mine"])
    theirs = [better(edited(run, code="new")) for run in ours if run.spec.seed > 0]
    (setting,) = plain(a_home(tmp_path / "a", ours), a_home(tmp_path / "b", theirs))["tables"]
    row = next(row for row in setting["rows"] if row["method"] == "mine")
    first = [average(run) for run in ours if run.spec.method.name == "mine" and run.spec.seed > 0]
    second = [average(run) for run in theirs if run.spec.method.name == "mine"]
    expected = scipy_stats.ttest_rel(second, first).confidence_interval(0.95)
    assert (row["pairs"], row["average_accuracy"]["n"]) == (3, 3)
    assert row["average_accuracy"]["mean"] == pytest.approx(100 * 0.028)
    assert (row["average_accuracy"]["low"], row["average_accuracy"]["high"]) == pytest.approx(
        (expected.low, expected.high)
    )
    assert row["average_accuracy"]["p"] == pytest.approx(2 * 2 / 2**3)
    assert row["differing"] == "code=c | code=new"
    assert (len(row["A"]["seeds"]), len(row["B"]["seeds"])) == (4, 3)


def test_without_common_seeds_the_interval_is_welchs_and_marked_so(tmp_path: Path) -> None:
    ours = [a_run("warm", seed) for seed in range(3)]
    theirs = [better(a_run("warm", seed)) for seed in range(5, 9)]
    a, b = a_home(tmp_path / "a", ours), a_home(tmp_path / "b", theirs)
    row = plain(a, b)["tables"][0]["rows"][0]
    expected = scipy_stats.ttest_ind(
        [average(r) for r in theirs], [average(r) for r in ours], equal_var=False
    )
    low, high = expected.confidence_interval(0.95)
    assert row["pairs"] == 0
    assert (row["average_accuracy"]["low"], row["average_accuracy"]["high"]) == pytest.approx((low, high))
    assert row["average_accuracy"]["p"] == pytest.approx(expected.pvalue)
    assert "] (unpaired) |" in compare(a, b, "--format", "md").out


def test_one_common_seed_has_no_interval(tmp_path: Path) -> None:
    a = a_home(tmp_path / "a", [a_run("warm", 0)])
    b = a_home(tmp_path / "b", [better(edited(a_run("warm", 0), code="new"))])
    assert "| +3.00 | 1.000 |" in compare(a, b, "--format", "md").out
    average = plain(a, b)["tables"][0]["rows"][0]["average_accuracy"]
    assert (average["n"], average["low"], average["high"]) == (1, None, None)


def test_seconds_stay_with_their_hardware(tmp_path: Path) -> None:
    ours = some_runs(2, methods=["warm"])
    theirs = [on(run, "another chip") for run in some_runs(4, methods=["warm"]) if run.spec.seed > 1]
    a, b = a_home(tmp_path / "a", ours), a_home(tmp_path / "b", theirs)
    row = plain(a, b)["tables"][0]["rows"][0]
    assert list(row["A"]["hardware"]) == ["a chip"]
    assert list(row["B"]["hardware"]) == ["another chip"]
    assert row["seconds_ratio"] == {}
    shown = compare(a, b, "--format", "md").out
    assert "(h1) |" in shown
    assert "h1: a chip; h2: another chip" in shown
    both = a_home(tmp_path / "both", [*ours, *theirs])
    mixed = plain(both, a)["tables"][0]["rows"][0]
    assert mixed["A"]["cost"]["seconds"] is None
    assert mixed["A"]["cost"]["steps"] is not None
    assert mixed["seconds_ratio"] == {"a chip": pytest.approx(1)}
    assert mixed["same_runs"] == 2


def test_runs_on_both_sides_are_counted(tmp_path: Path) -> None:
    a, b = a_home(tmp_path / "a", some_runs(2)), a_home(tmp_path / "b", some_runs(3))
    assert "6 runs are in both A and B" in compare(a, b).out


CHANGES: dict[str, tuple[Change, str]] = {
    "precision": (
        lambda run: replace(run, spec=replace(run.spec, recipe={**run.spec.recipe, "precision": "bf16"})),
        "precision=fp32 | precision=bf16",
    ),
    "protocol": (
        lambda run: replace(run, spec=replace(run.spec, protocol=2)),
        "protocol=1 | protocol=2",
    ),
    "device": (lambda run: replace(run, spec=replace(run.spec, device="cuda")), "device=cpu | device=cuda"),
    "code of the task": (
        lambda run: replace(run, spec=replace(run.spec, task=replace(run.spec.task, code="u"))),
        "task.code=t | task.code=u",
    ),
    "a setting that one alone has": (
        lambda run: replace(run, spec=replace(run.spec, recipe={**run.spec.recipe, "rho": 0.1})),
        "nothing | rho=0.1",
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_different_settings_are_matched_by_name_and_their_difference_is_shown(
    what: str, tmp_path: Path
) -> None:
    change, expected = CHANGES[what]
    a, b = a_home(tmp_path / "a", some_runs(2)), a_home(tmp_path / "b", map(change, some_runs(2)))
    assert f"the settings differ (A | B): {expected}" in compare(a, b, "--format", "md").out
    assert plain(a, b)["tables"][0]["differing"] == expected


def test_equal_settings_are_matched_first_and_the_rest_is_listed(tmp_path: Path) -> None:
    bf16 = CHANGES["precision"][0]
    a = a_home(tmp_path / "a", [*some_runs(2), *map(bf16, some_runs(2)), a_run("warm", 0, task="only_here")])
    b = a_home(tmp_path / "b", [*map(bf16, some_runs(3)), a_run("warm", 0, task="only_there")])
    found = plain(a, b)
    (setting,) = found["tables"]
    assert setting["differing"] == ""
    assert "precision=bf16" in setting["title"]
    assert [len(found["only"][side]) for side in "AB"] == [2, 1]
    assert "only_there" in found["only"]["B"][0]


def test_methods_with_several_settings_are_matched_with_their_equals(tmp_path: Path) -> None:
    weak = [edited(run, settings={"strength": 0.5}) for run in some_runs(2, methods=["mine"])]
    a = a_home(tmp_path / "a", [*some_runs(2), *weak])
    b = a_home(tmp_path / "b", [*weak, a_run("new", 0)])
    (setting,) = plain(a, b)["tables"]
    assert [(row["A"]["method"], row["differing"]) for row in setting["rows"]] == [("mine[strength=0.5]", "")]
    assert setting["only"] == {"A": ["cold", "mine[strength=1]", "warm"], "B": ["new"]}


def test_bold_needs_enough_seeds(tmp_path: Path) -> None:
    def shown(seeds: int) -> str:
        ours = some_runs(seeds, methods=["warm"])
        a = a_home(tmp_path / f"a{seeds}", ours)
        return compare(a, a_home(tmp_path / f"b{seeds}", map(better, ours)), "--format", "md").out

    assert "**+" in shown(6)
    assert "**" not in shown(5)
    assert "n = 5: no difference can reach p < 0.05 after correction for 1 comparison" in shown(5)


def test_diverged_runs_are_counted_and_in_no_average(tmp_path: Path) -> None:
    lost = replace(a_run("warm", 2), status="diverged")
    a = a_home(tmp_path / "a", [*some_runs(2, methods=["warm"]), lost])
    b = a_home(tmp_path / "b", [replace(run, status="diverged") for run in some_runs(2, methods=["warm"])])
    row = plain(a, b)["tables"][0]["rows"][0]
    assert (row["A"]["diverged"], row["B"]["diverged"], row["average_accuracy"]["mean"]) == (1, 2, None)
    assert "| warm | 2 + 1 diverged | 0 + 2 diverged |" in compare(a, b, "--format", "md").out


def test_every_format_has_the_same_numbers(tmp_path: Path) -> None:
    a = a_home(tmp_path / "a", some_runs(3))
    b = a_home(tmp_path / "b", [better(edited(run, code="new")) for run in some_runs(3)])
    rows = plain(a, b)["tables"][0]["rows"]
    lines = list(csv.DictReader(io.StringIO(compare(a, b, "--format", "csv").out)))
    assert [line["method"] for line in lines] == [row["method"] for row in rows] == ["cold", "mine", "warm"]
    assert [float(line["average_accuracy_low"]) for line in lines] == [
        row["average_accuracy"]["low"] for row in rows
    ]
    assert [float(line["B_seconds"]) for line in lines] == [row["B"]["cost"]["seconds"] for row in rows]
    assert r"\toprule" in compare(a, b, "--format", "latex").out
    for form in ("text", "md", "latex"):
        assert "+2.90" in compare(a, b, "--format", form).out, form


@pytest.mark.heavy
def test_suites_are_compared_inside_one_home(tmp_path: Path) -> None:
    grid = '[[grid]]\ntask = "digits"\nmethod = "warm"\nseeds = 2\n[grid.set]\nstages = 2\nmax_epochs = 1\n'
    small = "width = 4\ntrain_size = 130\n"
    for name, more in (("slow", ""), ("fast", "learning_rate = 0.3\n")):
        (tmp_path / f"{name}.toml").write_text(grid + small + more)
        made = small_run(tmp_path / "home", tmp_path / f"{name}.toml", "--seeds", 2)
        assert made.status == 0, made.err
    done = compare(
        tmp_path / "slow.toml", tmp_path / "fast.toml", "--home", tmp_path / "home", "--format", "md"
    )
    assert done.status == 0, done.err
    assert "learning_rate=0.01 | learning_rate=0.3" in done.out
    assert "| warm | 2 | 2 |" in done.out


def test_a_damaged_run_is_named_and_left_out(tmp_path: Path) -> None:
    a, b = a_home(tmp_path / "a", some_runs(2)), a_home(tmp_path / "b", some_runs(2))
    path = next(b.glob("runs/??/*/run.json"))
    path.write_text("{")
    done = compare(a, b)
    assert done.status == 1
    assert f"{path} is damaged" in done.err
    assert "5 runs are in both A and B" in done.out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("{tmp}/a", "{tmp}/nowhere"), "no home folder, records file or suite named '{tmp}/nowhere'"),
        (("{tmp}/a", "quickstrt"), "did you mean 'quickstart'"),
        (("{tmp}/a", "quickstart"), "no finished runs of this kind in"),
        (("{tmp}/a", "{tmp}/empty"), "no finished runs of this kind in {tmp}/empty"),
        (("{tmp}/a", "{tmp}/a", "--format", "mdd"), "did you mean 'md'"),
        (("{tmp}/a", "{tmp}/other"), "have no method under one task and model in common"),
        (("{tmp}/a", "x" * 5000), "no home folder, records file or suite named 'xxx"),
        (("{tmp}/a",), "Missing argument 'B'"),
    ],
)
def test_incomparable_selections_print_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    a_home(tmp_path / "a", some_runs(1))
    a_home(tmp_path / "other", [a_run("warm", 0, task="another_task")])
    (tmp_path / "empty" / "runs").mkdir(parents=True)
    done = command("compare", *(word.format(tmp=tmp_path) for word in words))
    assert (done.status, len(done.lines())) == (2, 1), done.err
    assert expected.format(tmp=tmp_path) in done.err


def test_tuned_method_is_matched_by_name(tmp_path: Path) -> None:
    from plastibench.store import tuned_settings

    run = a_run("mine", 0)
    a = a_home(tmp_path / "a", [run])
    chosen = edited(better(run), settings={"strength": 2.0})
    b = a_home(tmp_path / "b", [chosen])
    tuned_settings.save(
        b,
        {chosen.spec.variant_id: tuned_settings.TunedSettings(study="s", trials=9, trial=4)},
    )
    row = plain(a, b)["tables"][0]["rows"][0]
    assert (row["A"]["method"], row["B"]["method"]) == ("mine", "mine (tuned, 9 trials)")
    assert row["differing"] == "strength=1 | strength=2"
    assert chosen.spec.method == Part("mine", {"strength": 2.0}, "c")


def test_runs_on_other_data_are_not_paired_and_the_data_are_named(tmp_path: Path) -> None:
    ours = some_runs(3, methods=["warm"])
    theirs = [better(run).with_provenance(data="fedcba9876543210") for run in ours]
    (setting,) = plain(a_home(tmp_path / "a", ours), a_home(tmp_path / "b", theirs))["tables"]
    assert setting["differing"] == "data=0123456789ab | data=fedcba987654"
    assert [row["pairs"] for row in setting["rows"]] == [0]
