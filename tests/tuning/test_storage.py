"""Storages that other programs use: locked for a while or for good, or with a study of the same name."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import optuna
import pytest
from support.commands import command
from support.tracking import QUIET, a_record, save
from support.tuning import NAME, small_tune, studies, trials

from plastibench.tracking import DATABASE, TrackingServer

pytestmark = [pytest.mark.heavy, *(pytest.mark.filterwarnings(words) for words in QUIET)]

LOCKED_SECONDS = 6
"""Longer than SQLite waits by itself."""
WORDS = ("--method", "shrink_perturb", "--no-pruning")


@contextmanager
def locked(path: Path, seconds: float, kind: str = "EXCLUSIVE") -> Iterator[None]:
    """Lock an SQLite database while inside, but no longer than so many seconds."""
    ready, released = threading.Event(), threading.Event()

    def lock() -> None:
        with closing(sqlite3.connect(path)) as database:
            database.execute(f"BEGIN {kind}")
            ready.set()
            released.wait(seconds)

    thread = threading.Thread(target=lock)
    thread.start()
    ready.wait()
    try:
        yield
    finally:
        released.set()
        thread.join()


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the address of a storage with a tuning of one trial."""
    home = tmp_path_factory.mktemp("home")
    url = f"sqlite:///{home / 'trials.db'}"
    assert small_tune(home, *WORDS, "--trials", 1, "--storage", url).status == 0
    return url


def folder(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///")).parent


def test_storage_that_is_locked_for_a_while_is_waited_for(url: str) -> None:
    start = time.monotonic()
    with locked(folder(url) / "trials.db", LOCKED_SECONDS):
        answer = small_tune(folder(url), *WORDS, "--trials", 2, "--storage", url)
    assert time.monotonic() - start > LOCKED_SECONDS
    assert answer.status == 0, answer
    (study,) = studies(folder(url), url=url)
    assert len(trials(study)) == 2
    assert len(study.get_trials()) == 2


@pytest.mark.parametrize("jobs", [1, 2])
def test_lock_is_named_and_costs_no_trial(url: str, jobs: int) -> None:
    with locked(folder(url) / "trials.db", 60, "IMMEDIATE"):
        words = ("--trials", 4, "--storage", f"{url}?timeout=0.5", "--jobs", jobs)
        answer = small_tune(folder(url), *WORDS, *words)
    assert answer.status == 1
    assert "cannot be used: OperationalError: database is locked" in answer.lines()[-1]
    assert "exceeding" not in answer.err
    (study,) = studies(folder(url), url=url)
    assert not trials(study, "FAIL")


@pytest.mark.slow
def test_mlflow_database_that_is_locked_for_a_while_is_waited_for(tmp_path: Path) -> None:
    TrackingServer.from_uri(None, tmp_path).connect()
    save(tmp_path, a_record(0))
    with locked(tmp_path / DATABASE, LOCKED_SECONDS):
        answer = command("sync", "--home", tmp_path)
    assert (answer.status, "MLflow: 1 of 1 run brought up to date" in answer.err) == (0, True), answer


def test_study_of_the_same_name_with_another_direction_is_refused(url: str, tmp_path: Path) -> None:
    (old,) = studies(folder(url), url=url)
    other = f"sqlite:///{tmp_path / 'trials.db'}"
    optuna.create_study(study_name=old.study_name, storage=other, direction="minimize")
    answer = small_tune(tmp_path, *WORDS, "--trials", 1, "--storage", other)
    assert (answer.status, len(answer.lines())) == (2, 1), answer
    assert "was made with another direction (minimize; now maximize)" in answer.err


def test_study_of_the_same_name_with_trials_of_another_program_is_refused(url: str, tmp_path: Path) -> None:
    (old,) = studies(folder(url), url=url)
    other = f"sqlite:///{tmp_path / 'trials.db'}"
    study = optuna.create_study(study_name=old.study_name, storage=other, direction="maximize")
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1000), n_trials=1)
    answer = small_tune(tmp_path, *WORDS, "--trials", 1, "--storage", other)
    assert (answer.status, len(answer.lines())) == (2, 1), answer
    assert "has trials of another program" in answer.err
    assert NAME in answer.err


def test_database_of_another_program_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / DATABASE)) as database:
        database.execute("CREATE TABLE alembic_version (version_num TEXT)")  # as MLflow notes its version
    before = (tmp_path / DATABASE).read_bytes()
    answer = small_tune(tmp_path, *WORDS, "--trials", 1, "--storage", f"sqlite:///{tmp_path / DATABASE}")
    assert (answer.status, len(answer.lines())) == (2, 1), answer
    assert "is the database of another program, such as MLflow" in answer.err
    assert (tmp_path / DATABASE).read_bytes() == before


@pytest.mark.parametrize("line", ["nonsense", "[1]", '{"op_code": 99, "worker_id": "x"}'])
def test_damaged_journal_is_refused_and_left_as_it_was(line: str, tmp_path: Path) -> None:
    journal = tmp_path / "tuned" / "journal.log"
    journal.parent.mkdir()
    journal.write_text(f"{line}\n")
    answer = small_tune(tmp_path, *WORDS, "--trials", 1)
    assert (answer.status, len(answer.lines())) == (2, 1), answer
    assert f"trials in {journal} cannot be used" in answer.err
    assert journal.read_text() == f"{line}\n"
