"""Processes that share a home: nothing is done twice, no dead process is waited for, all see the status."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from support.commands import SMALL, command, plugin, small_run
from support.forked import ForkedProgram, forked_command

from plastibench.store.run_status import LOCK_FILE, RunLockedError, lock_holder, run_lock
from plastibench.store.run_store import Store

HOLD = """
import sys, time
from pathlib import Path
from plastibench.store.run_status import run_lock
with run_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""

LONG = ("--method", "warm", "--seeds", 1, "--set", "stages=2", "--set", "width=4", "--set", "train_size=130")
ENDLESS = ("--set", "target_accuracy=none", "--set", "max_epochs=100000")


def rows(home: Path) -> list[list[dict[str, Any]]]:
    """Return all rows without what depends on clocks."""
    return [
        [{k: v for k, v in row.items() if not k.endswith(("seconds", "energy"))} for row in record.stages]
        for record in Store(home).records()
    ]


def starts(home: Path) -> list[int]:
    return [path.read_text().count('"event":"start"') for path in sorted(home.rglob("events.jsonl"))]


def test_a_run_is_held_by_one_process_and_freed_when_it_dies(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(RunLockedError, match=f"process {other.pid} on"), run_lock(tmp_path):
            pass
        other.kill()
        other.wait()
    with run_lock(tmp_path):
        assert lock_holder(tmp_path) == f"process {os.getpid()} on {os.uname().nodename}"
    assert not (tmp_path / LOCK_FILE).exists()


@pytest.mark.heavy
def test_processes_on_one_grid_do_nothing_twice(tmp_path: Path) -> None:
    words = (
        "run",
        "--no-mlflow",
        "--home",
        tmp_path / "shared",
        *SMALL,
        "--method",
        "warm,dash",
        "--seeds",
        3,
    )
    both = [forked_command(*words, "--jobs", jobs) for jobs in (1, 2)]
    said = [process.communicate(timeout=600)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert starts(tmp_path / "shared") == [1] * 6
    alone = small_run(tmp_path / "alone", "--method", "warm,dash", "--seeds", 3)
    assert alone.status == 0
    assert rows(tmp_path / "shared") == rows(tmp_path / "alone")


def begin(home: Path, *words: object, runs: int = 1) -> ForkedProgram:
    """Start endless runs, in a group of processes of their own, and return when they have their folders."""
    words = ("run", "--no-mlflow", "--no-estimate", "--home", home, *LONG, *ENDLESS, *words)
    running = forked_command(*words, start_new_session=True)
    end = time.monotonic() + 300
    while len(list(home.rglob("events.jsonl"))) < runs:
        assert time.monotonic() < end
        time.sleep(0.05)
    return running


def state(home: Path) -> dict[str, Any]:
    (found,) = json.loads(command("status", "--home", home, "--json").out)["runs"]
    return dict(found)


@pytest.mark.heavy
def test_status_names_the_process_of_a_run_and_what_its_death_leaves(tmp_path: Path) -> None:
    running = begin(tmp_path)
    try:
        found = state(tmp_path)
        assert (found["state"], f"process {running.pid} on" in found["detail"]) == ("running", True)
    finally:
        running.kill()
        running.communicate()
    assert state(tmp_path)["state"] == "stopped"
    assert "1 run: 1 stopped" in command("status", "--home", tmp_path).out


@pytest.mark.heavy
def test_runs_that_had_not_begun_when_a_command_was_killed_are_queued(tmp_path: Path) -> None:
    running = begin(tmp_path, "--seeds", 3, "--jobs", 1)
    running.kill()
    running.communicate()
    found = json.loads(command("status", "--home", tmp_path, "--json").out)["runs"]
    assert sorted(run["state"] for run in found) == ["queued", "queued", "stopped"]
    assert sorted(run["name"][-6:] for run in found) == ["seed 0", "seed 1", "seed 2"]


@pytest.mark.heavy
@pytest.mark.parametrize(("jobs", "sign"), [(1, signal.SIGUSR1), (2, signal.SIGTERM)])
def test_first_signal_saves_the_state_and_resume_continues(jobs: int, sign: int, tmp_path: Path) -> None:
    seeds = ("--seeds", jobs, "--jobs", jobs)
    running = begin(tmp_path, *seeds, runs=jobs)
    time.sleep(1)
    os.killpg(running.pid, sign)  # as a cluster's scheduler does: to the workers and their server, too
    _, err = running.communicate(timeout=300)
    assert running.returncode == 130, err
    assert len(list(tmp_path.rglob("checkpoint.pt"))) == jobs
    assert "saving the state" in err
    again = begin_resume(tmp_path)
    assert "resuming at stage" in again


def begin_resume(home: Path) -> str:
    """Resume in a process of its own, stop it by the second sign's way, and return what it said."""
    running = forked_command("resume", "--no-mlflow", "--no-estimate", "--home", home, "--jobs", 1)
    while "resuming at stage" not in running.said() and running.poll() is None:
        time.sleep(0.05)
    running.kill()
    return running.communicate()[1]


STUMBLE = """
def before_stage(self, learner):
    from pathlib import Path
    mark = Path({mark!r})
    if not mark.exists():
        mark.touch()
        raise KeyboardInterrupt
"""


def test_resume_finishes_the_runs_that_were_started(tmp_path: Path) -> None:
    path = plugin(tmp_path, "mine", STUMBLE.format(mark=str(tmp_path / "mark")))
    home = tmp_path / "home"
    assert small_run(home, "--plugin", path, "--method", "mine").status == 130
    assert state(home)["state"] == "stopped"
    done = command(
        "resume", "--no-mlflow", "--no-estimate", "--home", home, "--plugin", path, state(home)["run"][:8]
    )
    assert done.status == 0, done.err
    assert "resumed: 1 run, 0 finished, 1 to do" in done.err
    assert (state(home)["state"], state(home)["stages"]) == ("done", 2)
    assert small_run(tmp_path / "alone", "--plugin", path, "--method", "mine").status == 0
    assert rows(home) == rows(tmp_path / "alone")


def test_resume_starts_the_runs_that_had_not_begun(tmp_path: Path) -> None:
    path = plugin(tmp_path, "mine", STUMBLE.format(mark=str(tmp_path / "mark")))
    home = tmp_path / "home"
    assert small_run(home, "--plugin", path, "--method", "mine", "--seeds", 2).status == 130

    def states() -> list[str]:
        return sorted(
            run["state"] for run in json.loads(command("status", "--home", home, "--json").out)["runs"]
        )

    assert states() == ["queued", "stopped"]
    assert command("resume", "--no-mlflow", "--no-estimate", "--home", home, "--plugin", path).status == 0
    assert states() == ["done", "done"]


def test_resume_names_a_run_whose_description_is_damaged(tmp_path: Path) -> None:
    small_run(tmp_path, "--method", "warm")
    (path,) = tmp_path.glob("runs/??/*/spec.json")
    path.write_text("{")
    path.with_name("run.json").unlink()
    answer = command("resume", "--no-mlflow", "--home", tmp_path)
    assert answer.status == 1
    assert f"run file {path} is damaged" in answer.err
    assert small_run(tmp_path, "--method", "warm").status == 0
    assert command("resume", "--no-mlflow", "--home", tmp_path).status == 0


def test_nothing_to_resume_and_unknown_runs_are_said_in_a_line(tmp_path: Path) -> None:
    assert small_run(tmp_path, "--method", "warm").status == 0
    nothing = command("resume", "--home", tmp_path)
    assert (nothing.status, "nothing to do" in nothing.err) == (0, True)
    refused = command("resume", "--home", tmp_path, "zz")
    assert (refused.status, "no run named 'zz'" in refused.err) == (2, True)
    empty = command("status", "--home", tmp_path / "none")
    assert (empty.status, "no run was ever started" in empty.err) == (2, True)


def test_status_says_why_a_run_failed_and_what_is_queued(tmp_path: Path) -> None:
    path = plugin(tmp_path, "mine", "def start(self, learner):\n    raise ValueError('no luck')")
    words = ("--plugin", path, "--method", "mine,warm", "--home", tmp_path / "home")
    assert command("run", "--no-mlflow", *words, *SMALL, "--seeds", 1).status == 1
    found = json.loads(command("status", *words, *SMALL, "--seeds", 2, "--json").out)["runs"]
    states = {(one["name"].split()[2], one["name"][-1]): (one["state"], one["detail"]) for one in found}
    assert states["mine", "0"] == ("failed", "ValueError: no luck")
    assert states["warm", "0"] == ("done", "")
    assert states["warm", "1"] == ("queued", "")


def test_run_whose_description_is_damaged_is_named(tmp_path: Path) -> None:
    assert small_run(tmp_path, "--method", "warm").status == 0
    (path,) = tmp_path.rglob("spec.json")
    path.write_bytes(b"{")
    assert state(tmp_path)["state"] == "done", "the record has the description, too"
    path.with_name("run.json").unlink()
    found = state(tmp_path)
    assert (found["run"], found["state"], found["stages"]) == (path.parent.name, "damaged", 2)
    assert str(path) in found["detail"]
