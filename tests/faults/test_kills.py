"""kill -9 at any moment, again and again: the same command ends with the bits of an undisturbed run."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import product
from pathlib import Path

import pytest
from support.faults import (
    METHODS,
    OPTIMIZERS,
    Trial,
    grid,
    mirrored_runs,
    process_with_lock,
    run_completes,
    run_files,
    same_as_undisturbed,
    start_with_fault,
    starts,
    wait_for,
    wait_for_exit,
)

from plastibench.store.run_store import Store

pytestmark = [pytest.mark.heavy, pytest.mark.filterwarnings("ignore")]  # MLflow's own warnings

PAIRS = sorted(product(METHODS, OPTIMIZERS), key=lambda pair: (METHODS.index(pair[0]) + len(pair[1])) % 2)
"""Every method with every optimizer; each method once before any comes again."""

CHECKPOINT_FILES = ["checkpoint"]
RESULT_FILES = ["stages.jsonl", "run.json", "spec.json", "failed.json", "events.jsonl", "run.lock"]


class Chain:
    """A run that is killed again and again, each time in another process."""

    def __init__(self, home: Path, args: tuple[str, ...], chance: random.Random) -> None:
        self.home, self.args, self.chance = home, args, chance

    def while_training(self) -> None:
        self._kill_in_time(
            lambda share: self._kill_from_outside(share, ["--no-mlflow"], self._begun()), unfinished=True
        )

    def while_checkpointing(self) -> None:
        self._kill_in_time(
            lambda share: self._kill_from_inside(CHECKPOINT_FILES, 1 + int(share * 120)), unfinished=True
        )

    def while_writing(self) -> None:
        self._kill_in_time(lambda share: self._kill_from_inside(RESULT_FILES, 1 + int(share * 24)))

    def while_mirroring(self) -> None:
        self._kill_in_time(lambda share: self._kill_from_outside(share * 5, [], self._finished))

    def _kill_in_time(self, kill: Callable[[float], bool], unfinished: bool = False) -> None:
        """Kill at a random moment; if the process had ended before, restore the home and kill earlier.

        A process lives for a second after its run ends; a run that is to be killed again must be left
        `unfinished`.
        """
        before, latest = self.home.with_name("before"), 1.0
        shutil.copytree(self.home, before)
        while not kill(self.chance.uniform(0, latest)) or (unfinished and self._finished()):
            shutil.rmtree(self.home)
            shutil.copytree(before, self.home)
            latest /= 2
            assert latest > 1e-3, "no such moment was found"
        shutil.rmtree(before)

    def _kill_from_inside(self, kinds: list[str], at: int) -> bool:
        fault: dict[str, object] = {"kill": kinds, "at": at}
        status, stderr = wait_for_exit(
            start_with_fault(fault, "run", "--no-mlflow", "--home", self.home, *self.args)
        )
        assert status in (0, -signal.SIGKILL), stderr
        return status != 0

    def _kill_from_outside(self, delay: float, options: list[str], condition: Callable[[], object]) -> bool:
        fault: dict[str, object] = {}
        process = start_with_fault(
            fault, "run", *options, "--home", self.home, *self.args, start_new_session=True
        )
        try:
            wait_for(condition, process)
            time.sleep(delay)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        status, stderr = wait_for_exit(process)
        assert status in (0, -signal.SIGKILL), stderr
        return status != 0

    def _begun(self) -> Callable[[], bool]:
        before = starts(self.home)
        return lambda: starts(self.home) > before

    def _finished(self) -> bool:
        return bool(run_files(self.home, "run.json"))


@pytest.mark.times(short=2, full=20, slow=1)
def test_a_command_that_is_killed_five_times_and_repeated_gives_the_same_bits(
    number: int, tmp_path: Path, trial: Trial, database: bytes
) -> None:
    home, args = tmp_path / "home", grid(*PAIRS[number % len(PAIRS)])
    home.mkdir()
    (home / "mlflow.db").write_bytes(database)
    chain = Chain(home, args, random.Random(number))
    training, writing = ("training", chain.while_training), ("writing results", chain.while_writing)
    # A run that is killed while it writes its last result is over and cannot be killed while training.
    last = (training, writing) if number % 2 else (writing, ("mirroring", chain.while_mirroring))
    kills = (training, ("keeping a checkpoint", chain.while_checkpointing), training, *last)
    for moment, kill in kills:
        with trial(f"kill -9 while {moment}"):
            kill()
            # A copy is completed, so that the original can be killed once more.
            left = shutil.copytree(home, tmp_path / "left")
            run_completes(left, args)
            shutil.rmtree(left)
    with trial("the same command after five kills"):
        run_completes(home, args, mirrored=number % 2 == 0)
        (record,) = Store(home).records()
        assert record.provenance["attempts"] >= 3
        assert number % 2 or mirrored_runs(home / "mlflow.db") == [record.id]


@pytest.mark.times(short=1, full=4)
def test_killed_worker_costs_one_run_which_a_second_command_repeats(
    number: int, tmp_path: Path, trial: Trial
) -> None:
    args, chance = grid("warm", seeds=4), random.Random(number)
    with trial("kill -9 of one of two workers"):
        process = start_with_fault(
            {"alone": False}, "run", "--no-mlflow", "--home", tmp_path, "--jobs", 2, "--retries", 0, *args
        )
        worker = wait_for(lambda: process_with_lock(tmp_path, process.pid), process)
        time.sleep(chance.uniform(0, 0.1))
        assert worker is not None
        os.kill(worker, signal.SIGKILL)
        status, stderr = wait_for_exit(process)
        assert status == 1, stderr
        assert "killed by SIGKILL" in stderr
        assert len(run_files(tmp_path, "run.json")) == 3, "the other runs are executed"
        run_completes(tmp_path, args)


@pytest.mark.times(short=0, full=3)
def test_eight_processes_on_one_store_execute_no_run_twice(number: int, tmp_path: Path, trial: Trial) -> None:
    args = grid("warm", seeds=6)
    with trial("8 processes on one store"):
        processes = [
            start_with_fault({}, "run", "--no-mlflow", "--home", tmp_path, "--jobs", 1, *args)
            for _ in range(8)
        ]
        answers = [wait_for_exit(process) for process in processes]
        assert [status for status, _ in answers] == [0] * 8, answers
        assert starts(tmp_path) == 6
        same_as_undisturbed(tmp_path, args)


@pytest.mark.times(short=0, full=3)
def test_processes_without_working_locks_damage_nothing(number: int, tmp_path: Path, trial: Trial) -> None:
    args = grid("warm", seeds=4)
    with trial("3 processes on one run, their locks without effect"):
        # Each may use all cores, so that they start together: their imports take longer than a run.
        fault: dict[str, object] = {"lockless": True, "alone": False}
        alike = ("--no-mlflow", "--home", tmp_path, "--jobs", 1, "--threads", 1)
        processes = [start_with_fault(fault, "run", *alike, *args) for _ in range(3)]
        for process in processes:
            status, stderr = wait_for_exit(process)
            assert status == 0, stderr
        assert starts(tmp_path) > 4, "the locks had an effect"
        run_completes(tmp_path, args)
