"""Commands that mirror to MLflow: live, whole, and never in a run's way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.commands import SMALL, command, plugin, small_run
from support.reports import a_home, some_runs
from support.tracking import WHEN, a_record, contents, save, select
from support.tuning import FADING, LEARNING

from plastibench import tracking
from plastibench.store import leaderboards
from plastibench.store.run_store import Store
from plastibench.tracking import TrackingServer


@pytest.fixture
def home(tmp_path: Path, empty_database: Callable[[Path], None]) -> Path:
    """Return a home folder with a database whose tables are there."""
    empty_database(tmp_path / "home")
    return tmp_path / "home"


@pytest.mark.heavy
def test_stage_is_in_mlflow_while_the_run_continues(home: Path, tmp_path: Path) -> None:
    """The method of this test waits, before its second stage, until the first is in the database."""
    path, query = str(home / tracking.DATABASE), "SELECT value FROM metrics WHERE key = 'test_accuracy'"
    hook = (
        "def before_stage(self, learner):\n"
        "    import sqlite3, time\n"
        "    rows, end = [], time.monotonic() + 60\n"
        "    while not rows and time.monotonic() < end:\n"
        "        time.sleep(0.1)\n"
        "        try:\n"
        f"            rows = sqlite3.connect({path!r}).execute({query!r}).fetchall()\n"
        "        except sqlite3.Error:\n"
        "            pass\n"
        "    assert rows, 'the first stage is not in the database'\n"
    )
    file = plugin(tmp_path, "mine", hook)
    words = ("--home", home, *SMALL, "--seeds", 1, "--plugin", file, "--method", "mine,warm")
    answer = command("run", *words)
    assert answer.status == 0, answer
    assert "MLflow: 2 runs added" in answer.err
    assert "#/experiments/" in answer.err
    kinds = select(home, "SELECT tags.value, status FROM runs JOIN tags USING (run_uuid) WHERE key = 'kind'")
    assert sorted(kinds) == [
        *[("aggregate", "FINISHED")] * 2,
        ("leaderboard", "FINISHED"),
        ("records", "FINISHED"),
        *[("run", "FINISHED")] * 2,
    ]
    before = contents(home)
    again = command("run", *words)
    assert "MLflow: 0 runs added" in again.err
    assert contents(home) == before


def test_sync_writes_what_is_missing_and_changes_nothing_the_second_time(home: Path) -> None:
    small_run(home, "--method", "warm,cold")
    first = command("sync", "--home", home)
    assert first.status == 0, first.err
    assert "MLflow: 2 of 2 runs brought up to date" in first.err
    before = contents(home)
    again = command("sync", "--home", home)
    assert "MLflow: 0 of 2 runs brought up to date" in again.err
    assert contents(home) == before
    (table,) = (home / "mlflow-artifacts" / "quickstart").glob("*/artifacts/table.md")
    assert table.read_text() == command("table", "--home", home, "--format", "md").out


@pytest.mark.heavy
def test_sync_attaches_the_page_and_the_figures_to_a_leaderboard(home: Path, tmp_path: Path) -> None:
    figures = tmp_path / "figures"
    times = {"started": WHEN, "finished": WHEN}
    a_home(home, [replace(run, provenance={**run.provenance, **times}) for run in some_runs(2)])
    answer = command("sync", "--home", home, "--report")
    assert answer.status == 0, answer.err
    (table,) = (home / "mlflow-artifacts").glob("*/*/artifacts/table.md")
    assert "<title>" in (table.parent / "report.html").read_text()
    written = command("report", "--home", home, "--out", tmp_path / "page.html", "--figures", figures)
    assert written.status == 0, written.err
    expected = {path.name: path.read_bytes() for path in figures.iterdir()}
    assert expected
    assert {path.name: path.read_bytes() for path in (table.parent / "figures").iterdir()} == expected


@pytest.mark.heavy
def test_sync_takes_leaderboards_runs_and_files_and_names_unknown_ones(home: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<p>hello</p>")
    records = [save(home, a_record(seed)) for seed in range(3)]
    leaderboards.add_runs(home, "mine", [records[0].id, records[1].id])
    wrong = command("sync", "--home", home, "mien")
    assert (wrong.status, "did you mean 'mine'?" in wrong.err) == (2, True)
    answer = command("sync", "--home", home, "mine", records[2].id[:6], "--attach", page)
    assert "MLflow: 3 of 3 runs brought up to date" in answer.err, answer
    names = dict(select(home, "SELECT name, experiment_id FROM experiments"))
    assert {"plastibench/mine", "plastibench/x"} <= set(names)
    assert len(list((home / "mlflow-artifacts" / "mine").glob("*/artifacts/page.html"))) == 1


@pytest.mark.heavy
@pytest.mark.slow
def test_tuning_is_a_parent_for_each_study_with_its_trials_as_children(home: Path) -> None:
    words = ("--task", "digits", "--home", home, *SMALL, "--seeds-per-trial", 1)
    methods = ("--method", "warm,shrink_perturb", "--tune", "learning_rate")
    answer = command("tune", *words, *methods, "--trials", 2)
    assert answer.status == 0, answer.err
    assert "MLflow: 4 trials added" in answer.err
    client = TrackingServer.from_uri(None, home).connect()
    experiment = client.get_experiment_by_name("plastibench/tuning/digits-small_resnet")
    assert experiment is not None
    runs = [run.data for run in client.search_runs([experiment.experiment_id])]
    assert sorted(run.tags["kind"] for run in runs) == ["leaderboard", "study", "study", *["trial"] * 4]
    for run in runs:
        if run.tags["kind"] == "trial":
            assert client.get_run(run.tags["mlflow.parentRunId"]).data.tags["study"] == run.tags["study"]
            assert 0 < run.metrics["mean"] <= 100
            assert float(run.params["learning_rate"]) > 0
            assert Store(home).read(run.tags["runs"]) is not None
        elif run.tags["kind"] == "study":
            assert (run.tags["trials"], run.tags["complete"]) == ("2", "2")
    before = contents(home)
    again = command("sync", "--home", home)
    assert "0 trials of 1 tuning brought up to date" in again.err, again
    assert contents(home) == before


@pytest.mark.heavy
@pytest.mark.slow
def test_pruned_trial_has_its_reason_and_no_value_to_win_with(home: Path, tmp_path: Path) -> None:
    words = ("--task", "digits", "--home", home, *LEARNING, "--seeds-per-trial", 1, "--trials", 2)
    answer = command(
        "tune", *words, "--method", "fading", "--plugin", plugin(tmp_path, "fading", source=FADING)
    )
    assert answer.status == 0, answer.err
    client = TrackingServer.from_uri(None, home).connect()
    experiment = client.get_experiment_by_name("plastibench/tuning/digits-small_resnet")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id], "tags.state = 'PRUNED'")
    assert run.data.tags["pruning_rule"] == "limit"
    assert run.data.tags["reason"].startswith("stage 2 ended at max_epochs with ")
    assert "mean" not in run.data.metrics
    (study,) = client.search_runs([experiment.experiment_id], "tags.kind = 'study'")
    assert (study.data.tags["pruned"], study.data.tags["best_trial"]) == ("1", "0")


def test_sync_of_nothing_is_one_line(tmp_path: Path) -> None:
    answer = command("sync", "--home", tmp_path)
    assert (answer.status, len(answer.lines())) == (2, 1)
    assert "no finished runs in" in answer.err


@pytest.mark.parametrize("uri", ["file:///tmp/x", "mlruns", "ftp://me:secret@host/x", "me:secret@host"])
def test_address_that_mlflow_cannot_use_is_refused_in_one_line(tmp_path: Path, uri: str) -> None:
    answer = command("run", "--home", tmp_path, *SMALL, "--tracking-uri", uri)
    assert (answer.status, len(answer.lines())) == (2, 1)
    assert "is not allowed: it must begin with sqlite://" in answer.err
    assert "secret" not in answer.err


@pytest.mark.heavy
def test_broken_database_is_one_line_and_costs_no_run(tmp_path: Path) -> None:
    (tmp_path / tracking.DATABASE).mkdir()
    answer = command("run", "--home", tmp_path, *SMALL, "--seeds", 2, "--method", "warm")
    assert answer.status == 0, answer
    assert [("cannot be written" in line) for line in answer.lines()].count(True) == 1
    assert "`plastibench sync --home " in answer.err
    assert len(list(tmp_path.rglob("run.json"))) == 2
    assert command("sync", "--home", tmp_path).status == 2
    (tmp_path / tracking.DATABASE).rmdir()
    assert "2 of 2 runs" in command("sync", "--home", tmp_path).err


def test_database_is_never_where_its_address_does_not_lead(tmp_path: Path) -> None:
    answer = command("run", "--home", tmp_path / "what?", *SMALL)
    assert (answer.status, "question mark" in answer.err) == (2, True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.heavy
def test_run_without_mlflow_makes_no_database(tmp_path: Path) -> None:
    small_run(tmp_path, "--method", "warm")
    assert not [path for path in tmp_path.iterdir() if "mlflow" in path.name]


@pytest.mark.heavy
def test_damaged_trials_keep_no_run_from_mlflow(
    tmp_path: Path, empty_database: Callable[[Path], None]
) -> None:
    empty_database(tmp_path)
    save(tmp_path, a_record(0))
    (tmp_path / "tuned").mkdir()
    (tmp_path / "tuned" / "journal.log").write_text("nonsense\n")
    answer = command("sync", "--home", tmp_path)
    assert (answer.status, "MLflow: 1 of 1 run brought up to date" in answer.err) == (0, True), answer
    (warning,) = (line for line in answer.lines() if "journal.log" in line)
    assert warning.endswith(": left out")
