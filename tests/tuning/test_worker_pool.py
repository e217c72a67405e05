"""Workers of a tuning: asked to stop, killed, on a real PostgreSQL, and what a dashboard sees of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from pathlib import Path
from typing import Any

import pytest
from optuna.storages.journal import JournalFileSymlinkLock
from optuna.study import StudyDirection
from support.commands import SMALL, plugin, program
from support.servers import postgres, stop, wait
from support.tracking import QUIET
from support.tuning import NAME, small_tune, studies, trials
from support.workers import free_port

from plastibench.store.run_store import Store
from plastibench.tuning.storage import open_storage

pytestmark = [pytest.mark.filterwarnings(words) for words in QUIET]

SLOW = '''"""A method of a test."""
from dataclasses import dataclass
import time
from plastibench.api import Learner, Method, tune


@dataclass(kw_only=True)
class Mine(Method):
    """Take a while over every step (arXiv 0000.00000)."""

    idle: float = tune(0.5, 0.1, 0.9)

    def after_step(self, learner: Learner) -> None:
        time.sleep(0.2)
'''


def tuning(folder: Path, jobs: int) -> list[str]:
    file = plugin(folder, "mine", source=SLOW)
    words = ("--task", "digits", "--home", folder / "home", *SMALL, "--method", "mine", "--plugin", file)
    return program("tune", "--no-mlflow", *words, "--trials", 3, "--seeds-per-trial", 1, "--jobs", jobs)


def checkpoints(home: Path) -> list[Path]:
    return list(home.glob("runs/??/*/checkpoint.pt"))


def begun(home: Path) -> list[Path]:
    return list(home.glob("runs/??/*/events.jsonl"))


def ended(home: Path) -> list[Any]:
    (study,) = studies(home)
    return trials(study)


@pytest.mark.parametrize("jobs", [1, 2])
def test_ctrl_c_lets_workers_keep_their_state_and_their_trials_are_tried_again(
    tmp_path: Path, jobs: int
) -> None:
    home, words = tmp_path / "home", tuning(tmp_path, jobs)
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as first:
        wait(lambda: len(begun(home)) >= jobs, "the tuning")
        first.send_signal(signal.SIGINT)
        _, said = first.communicate(timeout=60)
    assert first.returncode == 130, said
    assert "stopping after this step" in said
    assert checkpoints(home), "the state of a run was kept"
    kept = {path.parent.name for path in checkpoints(home)}
    second = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    assert second.returncode == 0, second.stderr
    assert len(ended(home)) == 3
    done = {run for trial in ended(home) for run in trial.user_attrs["runs"]}
    assert kept <= done, "what was begun is among what was judged"
    assert all('"start"' in path.read_text() for path in begun(home))
    assert not checkpoints(home)


def test_worker_that_is_killed_loses_no_trial(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with subprocess.Popen(tuning(tmp_path, 2), stderr=subprocess.PIPE, text=True) as team:
        wait(lambda: len(begun(home)) >= 2, "the tuning")
        (lock, *_) = home.glob("runs/??/*/run.lock")
        os.kill(int(lock.read_text().partition('"process": ')[2].strip("} \n")), signal.SIGKILL)
        _, said = team.communicate(timeout=120)
    assert team.returncode == 0, said
    (study,) = studies(home)
    assert len(trials(study)) == 3
    assert len(trials(study, "FAIL")) == 1
    assert not trials(study, "RUNNING")
    judged = [trial.params for trial in trials(study)]
    assert trials(study, "FAIL")[0].params in judged, "the same parameters were tried again"
    assert len(list(Store(home).records())) == 3


def connections(uri: str) -> int:
    """Return how many connections there are to a database, the one that asks among them."""
    import psycopg

    with psycopg.connect(uri) as asking:
        found = asking.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = 'bench'").fetchone()
    assert found is not None
    return int(found[0])


def test_trials_are_kept_in_a_real_postgresql(tmp_path: Path) -> None:
    with postgres() as uri:
        url = uri.replace("postgresql://", "postgresql+psycopg://")
        words = ("--method", "shrink_perturb", "--storage", url)
        assert small_tune(tmp_path / "one", *words, "--trials", 1).status == 0
        again = small_tune(tmp_path / "two", *words, "--trials", 2)  # another host: a home of its own
        assert again.status == 0, again.err
        (study,) = studies(tmp_path / "two", NAME, url)
        assert [trial.number for trial in trials(study)] == [0, 1]
        assert "used already, nothing to do" in small_tune(tmp_path / "one", *words, "--trials", 2).err
        assert connections(uri) == 1, "nobody is connected who does not ask"


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


def test_a_line_that_a_killed_writer_left_unfinished_is_cut_off(tmp_path: Path) -> None:
    path = journal(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"op_code":0,"worker')
    assert [study.study_name for study in open_storage(tmp_path, None).get_all_studies()] == ["one"]
    assert path.read_bytes() == whole


def test_a_line_that_is_still_being_written_is_not_cut_off(tmp_path: Path) -> None:
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
