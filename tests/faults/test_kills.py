"""kill -9 at any moment, again and again: the same command ends with the bits of a run nobody killed."""

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
    doomed,
    ended,
    goes_on,
    grid,
    mirrored_runs,
    process_with_lock,
    run_files,
    same_as_undisturbed,
    starts,
    wait_for,
)

from plastibench.store.run_store import Store

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow's own

PAIRS = sorted(product(METHODS, OPTIMIZERS), key=lambda pair: (METHODS.index(pair[0]) + len(pair[1])) % 2)
"""Every method with every optimizer; each method once before any comes again."""

KEEPING = ["checkpoint"]
WRITING = ["stages.jsonl", "run.json", "spec.json", "failed.json", "events.jsonl", "run.lock"]


class Chain:
    """A run that is killed again and again, each time in another process."""

    def __init__(self, home: Path, words: tuple[str, ...], chance: random.Random) -> None:
        self.home, self.words, self.chance = home, words, chance

    def while_training(self) -> None:
        self._insist(lambda share: self._from_outside(share, ["--no-mlflow"], self._begun()), unfinished=True)

    def while_keeping(self) -> None:
        self._insist(lambda share: self._from_inside(KEEPING, 1 + int(share * 120)), unfinished=True)

    def while_writing(self) -> None:
        self._insist(lambda share: self._from_inside(WRITING, 1 + int(share * 24)))

    def while_mirroring(self) -> None:
        self._insist(lambda share: self._from_outside(share * 5, [], self._finished))

    def _insist(self, kill: Callable[[float], bool], unfinished: bool = False) -> None:
        """Kill at a random moment; where the process was over before, put everything back and kill earlier.

        A process goes on for a second after its run is done; where the run is to be killed again, it has to
        be left `unfinished`.
        """
        before, latest = self.home.with_name("before"), 1.0
        shutil.copytree(self.home, before)
        while not kill(self.chance.uniform(0, latest)) or (unfinished and self._finished()):
            shutil.rmtree(self.home)
            shutil.copytree(before, self.home)
            latest /= 2
            assert latest > 1e-3, "it is never at such a moment"
        shutil.rmtree(before)

    def _from_inside(self, kinds: list[str], at: int) -> bool:
        fault: dict[str, object] = {"kill": kinds, "at": at}
        status, said = ended(doomed(fault, "run", "--no-mlflow", "--home", self.home, *self.words))
        assert status in (0, -signal.SIGKILL), said
        return status != 0

    def _from_outside(self, delay: float, options: list[str], there: Callable[[], object]) -> bool:
        fault: dict[str, object] = {}
        process = doomed(fault, "run", *options, "--home", self.home, *self.words, start_new_session=True)
        try:
            wait_for(there, process)
            time.sleep(delay)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        status, said = ended(process)
        assert status in (0, -signal.SIGKILL), said
        return status != 0

    def _begun(self) -> Callable[[], bool]:
        before = starts(self.home)
        return lambda: starts(self.home) > before

    def _finished(self) -> bool:
        return bool(run_files(self.home, "run.json"))


@pytest.mark.times(short=2, full=20)
def test_killed_five_times_and_given_again_it_ends_with_the_same_bits(
    number: int, tmp_path: Path, trial: Trial, database: bytes
) -> None:
    home, words = tmp_path / "home", grid(*PAIRS[number % len(PAIRS)])
    home.mkdir()
    (home / "mlflow.db").write_bytes(database)
    chain = Chain(home, words, random.Random(number))
    training, writing = ("training", chain.while_training), ("writing results", chain.while_writing)
    # Killed while it writes its last result, a run is over: nothing is left to be killed while training.
    last = (training, writing) if number % 2 else (writing, ("mirroring", chain.while_mirroring))
    kills = (training, ("keeping a checkpoint", chain.while_keeping), training, *last)
    for moment, kill in kills:
        with trial(f"kill -9 while {moment}"):
            kill()
            # A copy of what is left is gone on with, so that the chain can be killed once more.
            left = shutil.copytree(home, tmp_path / "left")
            goes_on(left, words)
            shutil.rmtree(left)
    with trial("the same command after five kills"):
        goes_on(home, words, mirrored=number % 2 == 0)
        (record,) = Store(home).records()
        assert record.provenance["attempts"] >= 3
        assert number % 2 or mirrored_runs(home / "mlflow.db") == [record.id]


@pytest.mark.times(short=1, full=4)
def test_killed_worker_costs_no_more_than_a_second_command(number: int, tmp_path: Path, trial: Trial) -> None:
    words, chance = grid("warm", seeds=4), random.Random(number)
    with trial("kill -9 of one of two workers"):
        process = doomed({"alone": False}, "run", "--no-mlflow", "--home", tmp_path, "--jobs", 2, *words)
        worker = wait_for(lambda: process_with_lock(tmp_path, process.pid), process)
        time.sleep(chance.uniform(0, 0.1))
        assert worker is not None
        os.kill(worker, signal.SIGKILL)
        status, said = ended(process)
        assert status == 1, said
        assert "killed by SIGKILL" in said
        assert len(run_files(tmp_path, "run.json")) == 3, "the other runs are carried out"
        goes_on(tmp_path, words)


@pytest.mark.times(short=0, full=3)
def test_eight_processes_on_one_store_do_nothing_twice(number: int, tmp_path: Path, trial: Trial) -> None:
    words = grid("warm", seeds=6)
    with trial("8 processes on one store"):
        processes = [
            doomed({}, "run", "--no-mlflow", "--home", tmp_path, "--jobs", 1, *words) for _ in range(8)
        ]
        answers = [ended(process) for process in processes]
        assert [status for status, _ in answers] == [0] * 8, answers
        assert starts(tmp_path) == 6
        same_as_undisturbed(tmp_path, words)


@pytest.mark.times(short=0, full=3)
def test_processes_that_no_lock_holds_off_work_twice_and_damage_nothing(
    number: int, tmp_path: Path, trial: Trial
) -> None:
    words = grid("warm", seeds=4)
    with trial("3 processes on one run, their locks without effect"):
        # Each may use all cores, so that they begin together: no run takes as long as their imports.
        fault: dict[str, object] = {"lockless": True, "alone": False}
        alike = ("--no-mlflow", "--home", tmp_path, "--jobs", 1, "--threads", 1)
        processes = [doomed(fault, "run", *alike, *words) for _ in range(3)]
        for process in processes:
            status, said = ended(process)
            assert status == 0, said
        assert starts(tmp_path) > 4, "the locks held them off"
        goes_on(tmp_path, words)
