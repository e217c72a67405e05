"""The mirror in MLflow, against a real local store: whole, once, and never in a run's way."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from command_support import SMALL, command, plugin, small_run
from store_support import a_spec

from plastibench import tracking
from plastibench.mirroring import Mirroring
from plastibench.spec import Part, Spec
from plastibench.store import Record

# MLflow and what it builds on warn of their own future and leave connections to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

WHEN = "2026-01-02T03:04:05+00:00"


def a_record(seed: int, **settings: Any) -> Record:
    spec = a_spec(seed)
    part = Part("mine", {"strength": 0.123456789, **settings}, "code")
    spec = Spec(spec.task, spec.model, spec.recipe, part, seed, "cpu", 1)
    rows = [
        dict.fromkeys(tracking.CURVES, 0.25 * (index + 1)) | {"index": index, "test_loss": None}
        for index in range(3)
    ]
    return Record(spec, "done", rows, {"started": WHEN, "finished": WHEN, "commit": None})


def children(mirror: tracking.Mirror) -> list[Any]:
    return list(mirror.client.search_runs([mirror.experiment], "tags.kind = 'run'"))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return one store for the whole module: making its tables takes seconds."""
    return tmp_path_factory.mktemp("h\u00f6me of runs")


def test_run_is_mirrored_whole_and_once(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    mirror = tracking.Mirror(home, "board")
    assert mirror.add([a_record(0), a_record(1, words="w" * 9000, many=tuple(range(5000)))]) == 2
    assert mirror.add([a_record(0)]) == 0
    assert (
        tracking.Mirror(home, "board").add(
            [a_record(0), a_record(1, words="w" * 9000, many=tuple(range(5000)))]
        )
        == 0
    )
    first = next(run for run in children(mirror) if run.data.tags["seed"] == "0")
    assert len(children(mirror)) == 2
    assert first.data.tags["run_id"] == a_record(0).id
    assert first.data.tags["mlflow.parentRunId"] == mirror.parent
    assert (first.data.params["mine.strength"], first.data.params["method"]) == ("0.123456789", "mine")
    history = mirror.client.get_metric_history(first.info.run_id, "test_accuracy")
    assert [(point.step, point.value) for point in history] == [(0, 0.25), (1, 0.5), (2, 0.75)]
    assert first.data.metrics["test_accuracy_mean"] == 0.5
    assert first.info.artifact_uri.startswith(home.resolve().as_uri())
    assert list(tmp_path.iterdir()) == [], "MLflow wrote into the folder that the user is in"


def test_half_written_run_of_a_killed_process_is_replaced(home: Path) -> None:
    mirror = tracking.Mirror(home, "killed")
    record = a_record(0)
    tags = {"kind": "run", "run_id": record.id, "mlflow.parentRunId": mirror.parent}
    half = mirror.client.create_run(mirror.experiment, tags=tags)
    again = tracking.Mirror(home, "killed")
    assert again.add([record]) == 1
    (whole,) = children(again)
    assert whole.info.run_id != half.info.run_id
    assert whole.info.status == "FINISHED"
    assert again.parent == mirror.parent


def test_leaderboards_are_listed_with_links(home: Path) -> None:
    mirror = tracking.Mirror(home, "listed")
    found = dict(tracking.leaderboards(home))
    assert found["listed"] == mirror.link()
    assert mirror.link().startswith(f"#/experiments/{mirror.experiment}/runs?orderByKey=")
    mirror.client.delete_experiment(mirror.experiment)
    assert "listed" not in dict(tracking.leaderboards(home))
    assert tracking.Mirror(home, "listed").add([a_record(0)]) == 1, "a deleted leaderboard comes back"


def test_run_is_in_the_mirror_before_the_next_one_begins(tmp_path: Path) -> None:
    counts = tmp_path / "counts"
    hook = (
        "def start(self, learner):\n"
        "    import sqlite3\n"
        f"    rows = sqlite3.connect({str(tmp_path / 'home' / tracking.DATABASE)!r}).execute(\n"
        "        \"SELECT count(*) FROM tags WHERE key = 'run_id'\").fetchall() if learner.seed else [(0,)]\n"
        f"    open({str(counts)!r}, 'a').write(f'{{rows[0][0]}} ')"
    )
    file = plugin(tmp_path, "mine", hook)
    words = ("--home", tmp_path / "home", *SMALL, "--seeds", 3, "--plugin", file, "--method", "mine")
    answer = command("run", *words)
    assert answer.status == 0, answer
    assert counts.read_text() == "0 1 2 "
    assert "MLflow: 3 runs added" in answer.err
    assert "#/experiments/" in answer.err
    again = command("run", *words)
    assert "MLflow: 0 runs added" in again.err


def test_broken_mirror_is_one_line_and_the_runs_are_kept(tmp_path: Path) -> None:
    (tmp_path / tracking.DATABASE).mkdir()
    answer = command("run", "--home", tmp_path, *SMALL, "--seeds", 2, "--method", "warm")
    assert answer.status == 0, answer
    assert [("MLflow could not be written" in line) for line in answer.lines()].count(True) == 1
    assert len(list(tmp_path.rglob("run.json"))) == 2


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
    said: list[str] = []
    mirroring = Mirroring(None, (tmp_path / "what?", "board"), said.append)  # type: ignore[arg-type]
    mirroring.add([a_record(0)])
    mirroring.add([a_record(1)])
    assert len(said) == 1
    assert "question mark" in said[0]
    assert list(tmp_path.iterdir()) == []


def test_run_without_a_mirror_makes_none(tmp_path: Path) -> None:
    small_run(tmp_path, "--method", "warm")
    assert list(tmp_path.iterdir()) == [tmp_path / "runs"]
