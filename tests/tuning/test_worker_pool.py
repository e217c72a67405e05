"""Workers of a tuning: interrupted, killed, with trials in PostgreSQL, and seen by a dashboard."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from pathlib import Path

import pytest
from optuna.storages.journal import JournalFileSymlinkLock
from optuna.study import StudyDirection
from support.commands import SMALL, command, plugin, program
from support.servers import postgres, stop, wait
from support.tracking import QUIET
from support.tuning import NAME, small_tune, studies, trials
from support.workers import free_port

from plastibench.runner.context import RunContext
from plastibench.runner.slots import Slot
from plastibench.runner.workspace import Workspace
from plastibench.store.run_store import Store
from plastibench.tuning.budget import Budget
from plastibench.tuning.storage import open_storage
from plastibench.tuning.trial_runner import WorkerConfig
from plastibench.tuning.worker_pool import run_workers

pytestmark = [pytest.mark.heavy, *(pytest.mark.filterwarnings(words) for words in QUIET)]

SLOW = '''"""A method of a test."""
from dataclasses import dataclass
from pathlib import Path
import time
from plastibench.api import Learner, Method, tune


@dataclass(kw_only=True)
class Mine(Method):
    """Take a while over every step, as long as the file `slow` lies beside this one (arXiv 0000.00000)."""

    idle: float = tune(0.5, 0.1, 0.9)

    def after_step(self, learner: Learner) -> None:
        if self.idle and Path(__file__).with_name("slow").exists():
            time.sleep(0.2)
'''


@pytest.fixture
def words(tmp_path: Path) -> tuple[object, ...]:
    """Return the options of a tuning of a slow method in a new home folder."""
    (tmp_path / "slow").touch()
    file = plugin(tmp_path, "mine", source=SLOW)
    words = ("--task", "digits", "--home", tmp_path / "home", *SMALL, "--method", "mine", "--plugin", file)
    return ("tune", "--no-mlflow", *words, "--trials", 3, "--seeds-per-trial", 1)


def test_no_worker_is_left_if_another_one_cannot_be_started(tmp_path: Path) -> None:
    class SecondUnsendable(WorkerConfig):
        started = False

        def in_slot(self, slot: Slot) -> WorkerConfig:
            if type(self).started:
                return self
            type(self).started = True
            return WorkerConfig(self.plans, self.budget, self.context, self.storage_url)

    context = RunContext(Workspace(home=tmp_path), "cpu", num_processes=2)
    with pytest.raises((AttributeError, pickle.PicklingError), match="SecondUnsendable"):
        run_workers(SecondUnsendable((), Budget("trials", 3), context, None), lambda: None)
    assert multiprocessing.active_children() == []


def checkpoints(home: Path) -> list[Path]:
    return list(home.glob("runs/??/*/checkpoint.pt"))


def started(home: Path) -> list[Path]:
    return list(home.glob("runs/??/*/events.jsonl"))


@pytest.mark.parametrize("num_jobs", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_ctrl_c_saves_the_state_of_trials_that_continue_later(
    tmp_path: Path, words: tuple[object, ...], num_jobs: int
) -> None:
    home = tmp_path / "home"
    with subprocess.Popen(program(*words, "--jobs", num_jobs), stderr=subprocess.PIPE, text=True) as first:
        wait(lambda: len(started(home)) >= num_jobs, "the tuning")
        first.send_signal(signal.SIGINT)
        _, stderr = first.communicate(timeout=300)
    assert first.returncode == 130, stderr
    assert "stopping after this step" in stderr
    interrupted = {path.parent.name for path in checkpoints(home)}
    assert interrupted
    (tmp_path / "slow").unlink()
    second = command(*words)
    assert second.status == 0, second.err
    (study,) = studies(home)
    assert len(trials(study)) == 3
    assert interrupted <= {run for trial in trials(study) for run in trial.user_attrs["runs"]}
    assert not checkpoints(home)


@pytest.mark.slow
def test_worker_that_is_killed_loses_no_trial(tmp_path: Path, words: tuple[object, ...]) -> None:
    home = tmp_path / "home"
    with subprocess.Popen(program(*words, "--jobs", 2), stderr=subprocess.PIPE, text=True) as pool:
        wait(lambda: len(started(home)) >= 2, "the tuning")
        (lock, *_) = home.glob("runs/??/*/run.lock")
        os.kill(json.loads(lock.read_text())["process"], signal.SIGKILL)
        (tmp_path / "slow").unlink()
        _, stderr = pool.communicate(timeout=300)
    assert pool.returncode == 0, stderr
    (study,) = studies(home)
    assert len(trials(study)) == 3
    assert not trials(study, "RUNNING")
    (lost,) = trials(study, "FAIL")
    assert lost.params in [trial.params for trial in trials(study)], "the same parameters were tried again"
    assert len(list(Store(home).records())) == 3


def test_trials_side_by_side_are_those_of_one_after_the_other(tmp_path: Path) -> None:
    words = ("--method", "shrink_perturb", "--trials", 3)
    one = small_tune(tmp_path / "one", *words)
    two = small_tune(tmp_path / "two", *words, "--jobs", 5)
    assert (one.status, two.status) == (0, 0), one.err + two.err
    assert ", 1 at a time" in one.err, "a core each"
    assert ", 3 at a time" in two.err, "no more than there are trials"
    (serial,), (parallel,) = studies(tmp_path / "one"), studies(tmp_path / "two")
    first, second = ({t.number: t for t in trials(study)} for study in (serial, parallel))
    assert {n: (t.params, t.value) for n, t in first.items()} == {
        n: (t.params, t.value) for n, t in second.items()
    }
    proposals = [first[number].user_attrs["proposal"] for number in range(3)]
    assert [proposal["after"] for proposal in proposals] == [[], [0], [0, 1]]
    assert [proposal["beside"] for proposal in proposals] == [[], [], []]
    beside = [second[number].user_attrs["proposal"] for number in range(3)]
    assert all(sorted(each["after"] + each["beside"]) == list(range(n)) for n, each in enumerate(beside))
    assert [p["seed"] for p in proposals] == [p["seed"] for p in beside]


def connections(uri: str) -> int:
    """Return the number of connections to a database, with the one that asks."""
    import psycopg

    with psycopg.connect(uri) as connection:
        count = connection.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = 'bench'").fetchone()
    assert count is not None
    return int(count[0])


def test_trials_are_stored_in_postgresql(tmp_path: Path) -> None:
    with postgres() as uri:
        url = uri.replace("postgresql://", "postgresql+psycopg://")
        words = ("--method", "shrink_perturb", "--storage", url)
        assert small_tune(tmp_path / "one", *words, "--trials", 1).status == 0
        again = small_tune(tmp_path / "two", *words, "--trials", 2)  # another host: a home of its own
        assert again.status == 0, again.err
        (study,) = studies(tmp_path / "two", NAME, url)
        assert [trial.number for trial in trials(study)] == [0, 1]
        assert "used already, nothing to do" in small_tune(tmp_path / "one", *words, "--trials", 2).err
        assert connections(uri) == 1, "a worker is connected only while it asks"


def test_dashboard_opens_the_same_trials(tmp_path: Path) -> None:
    pytest.importorskip("optuna_dashboard", reason="optuna-dashboard is not installed")
    home, port = tmp_path / "home", free_port()
    assert small_tune(home, "--method", "shrink_perturb", "--trials", 1).status == 0
    source = "from optuna_dashboard._cli import main; main()"
    page = subprocess.Popen(
        [sys.executable, "-c", source, str(home / "tuned" / "journal.log"), "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait(lambda: NAME in _page(f"http://127.0.0.1:{port}/api/studies"), "optuna-dashboard")
    finally:
        stop(page)


def _page(address: str) -> str:
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            return str(answer.read().decode())
    except OSError:
        time.sleep(0.1)
        return ""


def journal(home: Path) -> Path:
    """Return a journal with one study in it."""
    open_storage(home, None).create_new_study([StudyDirection.MAXIMIZE], "one")
    return home / "tuned" / "journal.log"


def test_unfinished_line_of_a_killed_writer_is_cut_off(tmp_path: Path) -> None:
    path = journal(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"op_code":0,"worker')
    assert [study.study_name for study in open_storage(tmp_path, None).get_all_studies()] == ["one"]
    assert path.read_bytes() == whole


def test_line_that_is_still_being_written_is_not_cut_off(tmp_path: Path) -> None:
    path = journal(tmp_path)
    other = tmp_path / "other"
    whole = path.read_bytes()
    line = journal(other).read_bytes().replace(b'"one"', b'"two"')
    lock = JournalFileSymlinkLock(str(path))
    lock.acquire()
    path.write_bytes(whole + line[:20])
    with ThreadPoolExecutor() as pool:
        opened = pool.submit(open_storage, tmp_path, None)
        early = wait_for([opened], timeout=0.5).done
        path.write_bytes(whole + line)
        lock.release()
    assert not early
    names = [study.study_name for study in opened.result().get_all_studies()]
    assert names == ["one", "two"]
