"""The mirror in MLflow, against a real local store: whole, once, live, and never in a run's way."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.commands import SMALL, command, plugin, small_run
from support.reports import a_home, some_runs
from support.tracking import QUIET, WHEN, a_record, contents, finish, values

from plastibench import tracking
from plastibench.store import leaderboards
from plastibench.store.run_store import Store
from plastibench.tracking import TrackingServer, payload
from plastibench.tracking.writer import MlflowWriter

pytestmark = [pytest.mark.filterwarnings(words) for words in QUIET]


def mirrored(home: Path, board: str, *records: Any) -> MlflowWriter:
    """Mirror records as a process does that then ends."""
    mirror = MlflowWriter(TrackingServer.from_uri(None, home))
    with mirror.writing():
        for record in records:
            mirror.finish(mirror.experiment(board), record)
        mirror.close()
    return mirror


def children(mirror: MlflowWriter, board: str) -> list[Any]:
    return list(mirror.client.search_runs([mirror.experiment(board).experiment], "tags.kind = 'run'"))


def history(mirror: MlflowWriter, child: str, name: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in mirror.client.get_metric_history(child, name)]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return one store for the whole module: making its tables takes seconds."""
    return tmp_path_factory.mktemp("höme of runs")


def test_run_is_mirrored_whole_and_once(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    records = [a_record(0), a_record(1, words="w" * 9000, many=tuple(range(5000)))]
    mirror = mirrored(home, "board", *records)
    before = contents(home)
    mirrored(home, "board", *records, a_record(0))
    assert contents(home) == before
    first = next(run for run in children(mirror, "board") if run.data.tags["seed"] == "0")
    assert len(children(mirror, "board")) == 2
    assert first.data.tags["run_id"] == records[0].id == first.data.tags["spec_hash"][:16]
    assert first.data.tags["mlflow.parentRunId"] == mirror.experiment("board").parent
    assert (first.data.params["mine.strength"], first.data.params["method"]) == ("0.123456789", "mine")
    assert history(mirror, first.info.run_id, "test_accuracy") == [(0, 0.25), (1, 0.5), (2, 0.75)]
    assert first.data.metrics["test_accuracy_mean"] == 0.5
    assert first.data.metrics["total_passes"] == 3.0
    (data,) = first.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("x", "d" * 36)
    assert [file.path for file in mirror.client.list_artifacts(first.info.run_id)] == ["spec.json"]
    assert first.info.artifact_uri.startswith(home.resolve().as_uri())
    assert list(tmp_path.iterdir()) == [], "MLflow wrote into the folder that the user is in"


def test_run_that_was_there_in_part_goes_on_without_a_doubled_point(home: Path) -> None:
    record, killed = a_record(0), MlflowWriter(TrackingServer.from_uri(None, home))
    with killed.writing():
        child = killed.stages(killed.experiment("killed"), record.spec, record.stages[:2])
        # As if the process had died between the points of a stage and the word that they are there.
        points = payload.points(record.stages, 2)
        killed.log(child.id, [(one.name, one.value, child.start + one.when, one.step) for one in points])
    again = mirrored(home, "killed", record)
    (whole,) = children(again, "killed")
    assert (whole.info.run_id, whole.info.status) == (child.id, "FINISHED")
    assert history(again, child.id, "test_accuracy") == [(0, 0.25), (1, 0.5), (2, 0.75)]
    assert again.experiments["killed"].parent == killed.experiments["killed"].parent


def test_run_that_was_made_again_with_other_numbers_replaces_what_was_there(home: Path) -> None:
    old, new = a_record(0), a_record(0)
    new.stages[1]["train_seconds"] = 7.0
    killed = MlflowWriter(TrackingServer.from_uri(None, home))
    with killed.writing():
        killed.stages(killed.experiment("other"), old.spec, old.stages[:2])
    again = mirrored(home, "other", new)
    (whole,) = children(again, "other")
    assert history(again, whole.info.run_id, "train_seconds") == [(0, 0.25), (1, 7.0), (2, 0.75)]
    known = replace(new, provenance={**new.provenance, "commit": "abc"})
    (whole,) = children(mirrored(home, "other", known), "other")
    assert whole.data.tags["commit"] == "abc"


def test_run_that_a_user_deleted_comes_back(home: Path) -> None:
    mirror = mirrored(home, "deleted", a_record(0))
    (child,) = children(mirror, "deleted")
    mirror.client.delete_run(child.info.run_id)
    (back,) = children(mirrored(home, "deleted", a_record(0)), "deleted")
    assert back.info.run_id != child.info.run_id


def test_leaderboards_are_listed_with_links(home: Path) -> None:
    server = TrackingServer.from_uri(None, home)
    mirror = mirrored(home, "listed")
    with mirror.writing():
        experiment = mirror.experiment("listed").experiment
    found = dict(tracking.leaderboard_links(server))
    assert found["listed"] == mirror.link("listed")
    assert found["listed"].startswith(f"#/experiments/{experiment}/runs?viewStateShareKey=")
    mirror.client.delete_experiment(experiment)
    assert "listed" not in dict(tracking.leaderboard_links(server))
    assert children(mirrored(home, "listed", a_record(0)), "listed"), "a deleted leaderboard comes back"


def test_four_processes_that_begin_on_nothing_do_not_race(tmp_path: Path) -> None:
    source = (
        "import sys; from pathlib import Path; from tracking.test_writer import mirrored, a_record\n"
        "mirrored(Path(sys.argv[1]), 'board', a_record(int(sys.argv[2])), a_record(9))"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", source, str(tmp_path / "home"), str(seed)],
            cwd=Path(__file__).parents[1],
            stderr=subprocess.PIPE,
            text=True,
        )
        for seed in range(4)
    ]
    assert [(process.communicate(timeout=120)[1], process.returncode) for process in started] == [("", 0)] * 4
    runs = values(tmp_path / "home", "SELECT value FROM tags WHERE key = 'run_id'")
    assert sorted(run for (run,) in runs) == sorted(a_record(seed).id for seed in (0, 1, 2, 3, 9))


def test_stage_is_in_the_mirror_while_the_run_goes_on(tmp_path: Path) -> None:
    """The method of this test waits, before its second stage, until the first is seen in the database."""
    home = tmp_path / "home"
    path, query = str(home / tracking.DATABASE), "SELECT value FROM metrics WHERE key = 'test_accuracy'"
    hook = (
        "def before_stage(self, learner):\n"
        "    import sqlite3, time\n"
        f"    found, end = [], time.monotonic() + 60\n"
        "    while not found and time.monotonic() < end:\n"
        "        time.sleep(0.1)\n"
        "        try:\n"
        f"            found = sqlite3.connect({path!r}).execute({query!r}).fetchall()\n"
        "        except sqlite3.Error:\n"
        "            pass\n"
        "    assert found, 'the first stage is not there'\n"
    )
    file = plugin(tmp_path, "mine", hook)
    words = ("--home", home, *SMALL, "--seeds", 1, "--plugin", file, "--method", "mine,warm")
    answer = command("run", *words)
    assert answer.status == 0, answer
    assert "MLflow: 2 runs added" in answer.err
    assert "#/experiments/" in answer.err
    assert values(home, "SELECT status FROM runs") == [("FINISHED",)] * 4  # a parent, two children, a pack
    before = contents(home)
    again = command("run", *words)
    assert "MLflow: 0 runs added" in again.err
    assert contents(home) == before


def test_sync_brings_what_is_missing_and_changes_nothing_the_second_time(tmp_path: Path) -> None:
    small_run(tmp_path, "--method", "warm,cold")
    first = command("sync", "--home", tmp_path)
    assert first.status == 0, first.err
    assert "MLflow: 2 of 2 runs brought up to date" in first.err
    before = contents(tmp_path)
    again = command("sync", "--home", tmp_path)
    assert "MLflow: 0 of 2 runs brought up to date" in again.err
    assert contents(tmp_path) == before
    (artifacts,) = (tmp_path / "mlflow-artifacts" / "quickstart").glob("*/artifacts/table.md")
    assert artifacts.read_text() == command("table", "--home", tmp_path, "--format", "md").out


def test_sync_lays_the_page_and_the_figures_with_a_leaderboard(tmp_path: Path) -> None:
    home, apart = tmp_path / "home", tmp_path / "figures"
    times = {"started": WHEN, "finished": WHEN}
    a_home(home, [replace(run, provenance={**run.provenance, **times}) for run in some_runs(2)])
    answer = command("sync", "--home", home, "--report")
    assert answer.status == 0, answer.err
    (artifacts,) = (home / "mlflow-artifacts").glob("*/*/artifacts/table.md")
    assert "<title>" in (artifacts.parent / "report.html").read_text()
    written = command("report", "--home", home, "--out", tmp_path / "page.html", "--figures", apart)
    assert written.status == 0, written.err
    pictures = {path.name: path.read_bytes() for path in apart.iterdir()}
    assert pictures
    assert {path.name: path.read_bytes() for path in (artifacts.parent / "figures").iterdir()} == pictures


def test_sync_takes_leaderboards_runs_and_files_and_names_what_it_does_not_know(tmp_path: Path) -> None:
    home, page = tmp_path / "home", tmp_path / "page.html"
    page.write_text("<p>hello</p>")
    records = [finish(home, a_record(seed)) for seed in range(3)]
    leaderboards.add_runs(home, "mine", [records[0].id, records[1].id])
    wrong = command("sync", "--home", home, "mien")
    assert (wrong.status, "did you mean 'mine'?" in wrong.err) == (2, True)
    answer = command("sync", "--home", home, "mine", records[2].id[:6], "--attach", page)
    assert "MLflow: 3 of 3 runs brought up to date" in answer.err, answer
    names = dict(values(home, "SELECT name, experiment_id FROM experiments"))
    assert {"plastibench/mine", "plastibench/x"} <= set(names)
    assert len(list((home / "mlflow-artifacts" / "mine").glob("*/artifacts/page.html"))) == 1


def test_tuning_is_a_parent_for_each_study_with_its_trials_as_children(tmp_path: Path) -> None:
    words = ("--task", "digits", "--home", tmp_path, *SMALL, "--seeds-per-trial", 1)
    methods = ("--method", "warm,shrink_perturb", "--tune", "learning_rate")
    answer = command("tune", *words, *methods, "--trials", 2)
    assert answer.status == 0, answer.err
    assert "MLflow: 4 trials added" in answer.err
    client = MlflowWriter(TrackingServer.from_uri(None, tmp_path)).server.connect()
    experiment = client.get_experiment_by_name("plastibench/tuning/digits-small_resnet")
    assert experiment is not None
    found = [run.data for run in client.search_runs([experiment.experiment_id])]
    kinds = [data.tags["kind"] for data in found]
    assert sorted(kinds) == ["leaderboard", "study", "study", *["trial"] * 4]
    for data in found:
        if data.tags["kind"] == "trial":
            assert client.get_run(data.tags["mlflow.parentRunId"]).data.tags["study"] == data.tags["study"]
            assert 0 < data.metrics["mean"] <= 100
            assert float(data.params["learning_rate"]) > 0
            assert Store(tmp_path).read(data.tags["runs"]) is not None
        elif data.tags["kind"] == "study":
            assert (data.tags["trials"], data.tags["complete"]) == ("2", "2")
    before = contents(tmp_path)
    again = command("sync", "--home", tmp_path)
    assert "0 trials of 1 tunings brought up to date" in again.err, again
    assert contents(tmp_path) == before


def test_sync_of_nothing_is_one_line(tmp_path: Path) -> None:
    answer = command("sync", "--home", tmp_path)
    assert (answer.status, len(answer.lines())) == (2, 1)
    assert "no finished runs in" in answer.err


@pytest.mark.parametrize("uri", ["file:///tmp/x", "mlruns", "ftp://me:secret@host/x"])
def test_address_of_another_kind_is_refused_in_one_line(tmp_path: Path, uri: str) -> None:
    answer = command("run", "--home", tmp_path, *SMALL, "--tracking-uri", uri)
    assert (answer.status, len(answer.lines())) == (2, 1)
    assert "is not allowed: it must begin with sqlite://" in answer.err
    assert "secret" not in answer.err


def test_broken_mirror_is_one_line_and_the_runs_are_kept(tmp_path: Path) -> None:
    (tmp_path / tracking.DATABASE).mkdir()
    answer = command("run", "--home", tmp_path, *SMALL, "--seeds", 2, "--method", "warm")
    assert answer.status == 0, answer
    assert [("cannot be written" in line) for line in answer.lines()].count(True) == 1
    assert "`plastibench sync` brings them later" in answer.err
    assert len(list(tmp_path.rglob("run.json"))) == 2
    assert command("sync", "--home", tmp_path).status == 2
    (tmp_path / tracking.DATABASE).rmdir()
    assert "2 of 2 runs" in command("sync", "--home", tmp_path).err


def test_absent_mlflow_is_one_line_and_the_runs_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)  # as where it is not installed: importing it fails
    answer = command("run", "--home", tmp_path, *SMALL, "--seeds", 1, "--method", "warm")
    assert answer.status == 0
    assert [("mlflow is not installed" in line) for line in answer.lines()].count(True) == 1
    assert len(list(tmp_path.rglob("run.json"))) == 1
    assert not (tmp_path / tracking.DATABASE).exists()


def test_mirror_is_never_put_where_its_address_does_not_lead(tmp_path: Path) -> None:
    answer = command("run", "--home", tmp_path / "what?", *SMALL)
    assert (answer.status, "question mark" in answer.err) == (2, True)
    assert list(tmp_path.iterdir()) == []


def test_run_without_a_mirror_makes_none(tmp_path: Path) -> None:
    small_run(tmp_path, "--method", "warm")
    assert not [path for path in tmp_path.iterdir() if "mlflow" in path.name]
